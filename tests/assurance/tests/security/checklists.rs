//! The checklists of SECURITY.md: each line has tests of the attacks it is about, or somebody whose it is.

use assurance::{
    document::{cells, named_tests, row_ids, rows, section},
    evidence::{Tagged, all_tagged},
};

/// Who has to do what the crate cannot.
const OWNERS: [&str; 2] = ["Application: ", "Operator: "];

/// What is wrong with the checklists of `document`, when these `tests` say what they cover.
fn problems(document: &str, tests: &[Tagged]) -> Vec<String> {
    let mut problems = Vec::new();
    for row in rows(section(document, "Checklists")) {
        let [_, _, attacks, shown] = cells(row)[..] else {
            problems.push(format!("no line of a checklist: {row}"));
            continue;
        };
        let attacks: Vec<_> = row_ids(attacks).collect();
        let owned = OWNERS.iter().any(|it| shown.contains(it));
        if named_tests(shown).next().is_none() && !owned {
            problems.push(format!("neither a test nor an owner: {row}"));
        }
        if attacks.is_empty() && !owned {
            problems.push(format!("no attack: {row}"));
        }
        for (file, name) in named_tests(shown) {
            let of_test = tests.iter().filter(|it| it.file == file && it.name == name);
            if !of_test.flat_map(|it| &it.ids).any(|id| attacks.contains(&id.as_str())) {
                problems.push(format!("covers none of {attacks:?}: {file}::{name}"));
            }
        }
    }
    problems
}

#[test]
fn every_line_has_a_test_or_an_owner() {
    let document = crate::document();
    assert_eq!(problems(&document, &all_tagged("covers").unwrap()), [""; 0]);
    let lines: Vec<_> = rows(section(&document, "Checklists")).map(|row| cells(row)[0]).collect();
    assert!(lines.len() > 60, "{lines:?}");
    for requirement in ["4.4.1", "4.4.2", "4.4.3", "4.4.4"] {
        assert!(lines.contains(&requirement), "{requirement}");
    }
}

#[test]
fn a_line_that_shows_nothing_is_found() {
    let test = Tagged { file: "a.rs".into(), name: "a_test".into(), ids: vec!["AU-01".into()] };
    for (line, problem) in [
        ("| 1 | asks | AU-01 | `a.rs::a_test` |", None),
        ("| 1 | asks | AU-01, AU-02 | `a.rs::a_test` |", None),
        ("| 1 | asks | – | Operator: does it |", None),
        ("| 1 | asks | AU-01 | `a.rs::a_test`. Application: does the rest |", None),
        ("| 1 | asks | AU-01 | yes |", Some("neither a test nor an owner")),
        ("| 1 | asks | – | `a.rs::a_test` |", Some("no attack")),
        ("| 1 | asks | AU-02 | `a.rs::a_test` |", Some("covers none of")),
        ("| 1 | asks | AU-01 | `a.rs::another` |", Some("covers none of")),
        ("| 1 | asks | `a.rs::a_test` |", Some("no line of a checklist")),
    ] {
        let document =
            format!("# A\n\n## Checklists\n\n| a | b | c | d |\n|---|---|---|---|\n{line}\n");
        let found = problems(&document, std::slice::from_ref(&test));
        match problem {
            None => assert_eq!(found, [""; 0], "{line}"),
            Some(problem) => {
                assert!(found.iter().any(|it| it.starts_with(problem)), "{line}: {found:?}")
            }
        }
    }
}
