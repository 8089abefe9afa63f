"""Judge a report of the Autobahn test suite by what is expected, and by its close codes.

    check.py PROFILE REPORT EXPECTED [--bless]

PROFILE is `conformance`, `production` or `chopped`, and may have a variant behind it: `chopped-7`.
REPORT is the folder that `wstest` wrote. EXPECTED has one line for each case: its number, how it went,
how its close went, and the server's close code. What differs is a problem, and so is what breaks a
rule, whatever EXPECTED says. `--bless` writes EXPECTED anew. Ends with 1 if there is a problem.
"""

import collections
import json
import pathlib
import sys

HEADER = "# case, behavior, behavior of the close, the server's close code\n"

# When the bytes of several frames arrive together and one of them is illegal, the connection ends with
# it, and answers to the frames before that have not left yet are dropped: Autobahn calls that
# NON-STRICT. How many bytes arrive together is chance.
EITHER = "3.2 3.3 3.4 4.1.3 4.1.4 4.1.5 4.2.3 4.2.4 4.2.5 5.15".split()

# Autobahn takes a case for passed that ends without any close code, because then the close may have
# been lost on the way. Here nothing is lost, and the code must be one that the case expects, but:
LIFTED = {"7.3.1": None}  # a close without a code is answered by one without
OTHER_CODE = {
    "conformance": LIFTED,
    "chopped": LIFTED,
    "production": LIFTED | {"7.1.6": 1009},  # begins with a message of 256 KiB, over the default
}

# How a case, or its close, may go.
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}

# Messages over the defaults for size (1009) and fragments (1008), which is what group 9 is made of.
MAY_FAIL = {"conformance": {}, "chopped": {}, "production": {"9": {1008, 1009}}}


def main(profile, report, expected, *options):
    cases = read(pathlib.Path(report))
    expected = pathlib.Path(expected)
    lines = [line(case, result) for case, result in cases.items()]
    if "--bless" in options:
        expected.write_text(HEADER + "".join(f"{it}\n" for it in lines))
    problems = differences(lines, expected.read_text().splitlines())
    problems += broken_rules(profile.split("-")[0], cases)
    for problem in problems:
        print(f"{profile}: {problem}")
    counts = collections.Counter(it.split()[1] for it in lines)
    counts = ", ".join(f"{count} {behavior}" for behavior, count in counts.most_common())
    verdict = f"{len(problems)} PROBLEMS" if problems else "as expected"
    print(f"{profile}: {len(lines)} cases: {counts}; {verdict}")
    return 1 if problems else 0


def read(report):
    """The cases in order, with the close codes that each allows."""
    (agent,) = json.loads((report / "index.json").read_text()).values()
    cases = {}
    for case in sorted(agent, key=lambda it: [int(part) for part in it.split(".")]):
        detail = json.loads((report / agent[case]["reportfile"]).read_text())
        cases[case] = dict(agent[case], allowed=detail["expectedClose"]["closeCode"])
    return cases


def line(case, result):
    behavior, code = result["behavior"], result["remoteCloseCode"]
    if case in EITHER and behavior in ("OK", "NON-STRICT"):
        behavior = "OK/NON-STRICT"
    return f"{case} {behavior} {result['behaviorClose']} {'-' if code is None else code}"


def differences(lines, expected):
    expected = [it for it in expected if not it.startswith("#")]
    missing = [f"expected: {it}" for it in expected if it not in lines]
    return missing + [f"seen: {it}" for it in lines if it not in expected]


def broken_rules(profile, cases):
    problems = []
    for case, result in cases.items():
        code, allowed = result["remoteCloseCode"], result["allowed"]
        behaviors = result["behavior"], result["behaviorClose"]
        if not PASSED.issuperset(behaviors):
            allowed = MAY_FAIL[profile].get(case.split(".")[0])
            if allowed is None:
                problems.append(f"{case} may not be {' and '.join(behaviors)}")
                continue
        elif case in OTHER_CODE[profile]:
            allowed = {OTHER_CODE[profile][case]}
        if code not in allowed:
            problems.append(f"{case} closed with {code}, which is none of {sorted(allowed, key=str)}")
    return problems


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
