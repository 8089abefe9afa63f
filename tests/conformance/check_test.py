"""That check.py finds what is wrong: a check that cannot fail proves nothing."""

import contextlib
import io
import json
import pathlib
import tempfile
import unittest

import check

EXPECTED = """# a comment
1.1.1 OK OK 1000
3.2 OK/NON-STRICT OK 1002
7.3.1 OK OK -
9.1.2 OK OK 1000
"""


def report(**changes):
    """What wstest writes: all as in EXPECTED, but for the changes to the cases named like c1_1_1."""
    folder = pathlib.Path(tempfile.mkdtemp())
    agent = {}
    for line in EXPECTED.splitlines()[1:]:
        case, behavior, close, code = line.split()
        code = None if code == "-" else int(code)
        result = {
            "behavior": behavior.split("/")[0],
            "behaviorClose": close,
            "remoteCloseCode": code,
            "duration": 17,
            "reportfile": f"{case}.json",
        }
        result |= changes.get("c" + case.replace(".", "_"), {})
        detail = {"expectedClose": {"closeCode": [1002 if case == "3.2" else 1000]}}
        (folder / result["reportfile"]).write_text(json.dumps(detail))
        if result["behavior"]:
            agent[case] = result
    (folder / "index.json").write_text(json.dumps({"an agent": agent}))
    return folder


def run(folder, *options, profile="conformance"):
    """The exit code, and what was printed."""
    expected = folder / "expected.txt"
    expected.write_text(EXPECTED)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = check.main(profile, folder, expected, *options)
    return code, printed.getvalue()


class Check(unittest.TestCase):
    def test_what_is_expected_passes(self):
        self.assertEqual(run(report())[0], 0)
        self.assertEqual(run(report(c3_2={"behavior": "NON-STRICT"}))[0], 0)
        self.assertEqual(run(report(c1_1_1={"duration": 0}))[0], 0)
        self.assertEqual(run(report(), profile="chopped-7")[0], 0)

    def test_a_difference_is_a_problem(self):
        for changes in [
            {"c1_1_1": {"behavior": "NON-STRICT"}},
            {"c1_1_1": {"behavior": "FAILED"}},
            {"c1_1_1": {"behaviorClose": "INFORMATIONAL"}},
            {"c1_1_1": {"behavior": None}},  # not run
            {"c9_1_2": {"remoteCloseCode": 1009}},
        ]:
            self.assertEqual(run(report(**changes))[0], 1, changes)

    def test_a_broken_rule_is_a_problem_even_when_it_is_what_was_expected(self):
        for problem, changes in [
            ("1.1.1 closed with None", {"c1_1_1": {"remoteCloseCode": None}}),
            ("1.1.1 closed with 1001", {"c1_1_1": {"remoteCloseCode": 1001}}),
            ("3.2 closed with 1000", {"c3_2": {"remoteCloseCode": 1000}}),
            ("7.3.1 closed with 1000", {"c7_3_1": {"remoteCloseCode": 1000}}),
            ("1.1.1 may not be", {"c1_1_1": {"behavior": "FAILED"}}),
            ("1.1.1 may not be", {"c1_1_1": {"behaviorClose": "UNCLEAN"}}),
            ("9.1.2 may not be", {"c9_1_2": {"behavior": "FAILED", "remoteCloseCode": 1009}}),
        ]:
            code, printed = run(report(**changes), "--bless")
            self.assertEqual(code, 1, changes)
            self.assertIn(problem, printed)

    def test_the_defaults_refuse_the_largest_messages_and_say_so(self):
        def large(**result):
            return run(report(c9_1_2=result), "--bless", profile="production")

        self.assertEqual(large(behavior="FAILED", remoteCloseCode=1009)[0], 0)
        self.assertEqual(large(behavior="FAILED", remoteCloseCode=1008)[0], 0)
        self.assertEqual(large(behavior="FAILED", remoteCloseCode=None)[0], 1)
        self.assertEqual(large(behavior="FAILED", remoteCloseCode=1011)[0], 1)
        self.assertEqual(large(remoteCloseCode=1009)[0], 1)


if __name__ == "__main__":
    unittest.main()
