//! The invariants: SECURITY.md has them in the words of the code, and tests that say they hold.

use tower_websocket::testing::Invariant;

use assurance::{
    document::{cells, named_tests, rows, section},
    evidence::{Tagged, all_tagged},
};

/// What is wrong with the invariants of `document`, when these `tests` say what holds.
fn problems(document: &str, tests: &[Tagged]) -> Vec<String> {
    let mut problems = Vec::new();
    let rows: Vec<_> = rows(section(document, "Invariants")).map(cells).collect();
    let known = |id: &str| Invariant::ALL.iter().any(|it| it.id() == id);
    for Tagged { file, name, ids } in tests {
        for id in ids.iter().filter(|id| !known(id)) {
            problems.push(format!("no invariant: {file}::{name} holds {id}"));
        }
    }
    for row in rows.iter().filter(|row| !known(row[0])) {
        problems.push(format!("no invariant: {row:?}"));
    }
    for invariant in Invariant::ALL {
        let id = invariant.id();
        let holds = |it: &Tagged| it.ids.iter().any(|it| it == id);
        if !tests.iter().any(holds) {
            problems.push(format!("no test: {id}"));
        }
        let row = rows.iter().find(|row| row[0] == id);
        let Some(&[_, statement, shown]) = row.map(|it| &it[..]) else {
            problems.push(format!("not mentioned: {id}"));
            continue;
        };
        if statement != invariant.statement() {
            problems.push(format!("other words: {id}: {}", invariant.statement()));
        }
        if named_tests(shown).next().is_none() {
            problems.push(format!("no test named: {id}"));
        }
        for (file, name) in named_tests(shown) {
            if !tests.iter().any(|it| it.file == file && it.name == name && holds(it)) {
                problems.push(format!("not tagged: {id}: {file}::{name}"));
            }
        }
    }
    problems
}

#[test]
fn the_document_and_the_tests_have_every_invariant() {
    let tests = all_tagged("holds").unwrap();
    assert_eq!(problems(&crate::document(), &tests), [""; 0]);
}

#[test]
fn an_invariant_that_nothing_shows_is_found() {
    let tests: Vec<_> = Invariant::ALL.iter().map(|it| tagged(&[it.id()])).collect();
    let line = |it: &Invariant| {
        let (id, statement) = (it.id(), it.statement());
        format!("| {id} | {statement} | `a.rs::of_{id}` |\n")
    };
    let lines: String = Invariant::ALL.iter().map(line).collect();
    let document =
        format!("# A\n\n## Invariants\n\n| id | statement | tests |\n|---|---|---|\n{lines}");
    assert_eq!(problems(&document, &tests), [""; 0]);

    for (from, to, problem) in [
        ("| I3 | what", "| I3 | nearly what", "other words: I3"),
        ("| I3 |", "| I33 |", "not mentioned: I3"),
        ("| I3 |", "| I33 |", "no invariant: "),
        ("| `a.rs::of_I3` |", "| certainly |", "no test named: I3"),
        ("| `a.rs::of_I3` |", "|", "not mentioned: I3"),
        ("::of_I3", "::of_I4", "not tagged: I3"),
    ] {
        let found = problems(&document.replacen(from, to, 1), &tests);
        assert!(found.iter().any(|it| it.starts_with(problem)), "{from} to {to}: {found:?}");
    }
    for (name, tests, problem) in [
        ("a test less", tests[1..].to_vec(), "no test: I1"),
        ("an unknown id", [&tests[..], &[tagged(&["I99"])]].concat(), "no invariant: "),
    ] {
        let found = problems(&document, &tests);
        assert!(found.iter().any(|it| it.starts_with(problem)), "{name}: {found:?}");
    }
}

fn tagged(ids: &[&str]) -> Tagged {
    let name = format!("of_{}", ids.concat());
    Tagged { file: "a.rs".into(), name, ids: ids.iter().map(|&id| id.into()).collect() }
}
