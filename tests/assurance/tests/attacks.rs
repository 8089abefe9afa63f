//! Every row of the attack catalogue has a test, or a feature to come that owns it.
//!
//! The rows are in `catalogue.txt`: id, severity, what is attacked. A test names those that it
//! proves in the comment directly above it, `// covers: ` and their ids. `later.txt` names the
//! rows that a later feature proves, wholly or in part. `attacks.md` is made from all three;
//! `BLESS=1 cargo test -p assurance --test attacks` writes it anew.
#![cfg(test)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
};

use assurance::evidence::{Row, Tagged, all_tagged, catalogue, in_repository, read, tagged};

#[test]
fn every_row_has_a_test_or_an_owner_and_the_table_says_which() {
    let rows = catalogue();
    let later = later();
    let tests = all_tagged("covers").unwrap_or_else(|problems| panic!("\n{}", problems.join("\n")));
    let problems = contradictions(&rows, &later, &tests);
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));

    let table = table(&rows, &later, &tests);
    if env::var_os("BLESS").is_some() {
        fs::write(in_repository("docs/assurance/attacks.md"), table).unwrap();
    } else if read("docs/assurance/attacks.md") != table {
        panic!(
            "docs/assurance/attacks.md is out of date: BLESS=1 cargo test -p assurance --test attacks writes it anew"
        );
    }
}

/// What is wrong with the tags, and with what has none.
fn contradictions(rows: &[Row], later: &BTreeMap<String, String>, tests: &[Tagged]) -> Vec<String> {
    let mut problems = Vec::new();
    let ids: BTreeSet<_> = rows.iter().map(|row| row.id.as_str()).collect();
    if ids.len() != rows.len() {
        problems.push("catalogue.txt has a row twice".to_owned());
    }
    for Tagged { file, name, ids: covered } in tests {
        for id in covered.iter().filter(|id| !ids.contains(id.as_str())) {
            problems.push(format!("{file}: {name} covers {id:?}, which is not in catalogue.txt"));
        }
    }
    for id in later.keys().filter(|id| !ids.contains(id.as_str())) {
        problems.push(format!("later.txt has {id:?}, which is not in catalogue.txt"));
    }
    let proven: BTreeSet<_> = tests.iter().flat_map(|it| &it.ids).collect();
    for Row { id, severity, title } in rows {
        if severity != "P2" && !proven.contains(id) && !later.contains_key(id) {
            problems.push(format!("{id} ({severity}, {title}) has neither a test nor an owner"));
        }
    }
    problems
}

fn table(rows: &[Row], later: &BTreeMap<String, String>, tests: &[Tagged]) -> String {
    let mut table = HEADER.to_owned();
    for Row { id, severity, title } in rows {
        let of_row = tests.iter().filter(|it| it.ids.contains(id));
        let tests: Vec<_> =
            of_row.map(|it| format!("`{}`: {}", it.file, it.name.replace('_', " "))).collect();
        let state = match (tests.is_empty(), later.get(id)) {
            (false, None) => "tested".to_owned(),
            (false, Some(feature)) => format!("tested; the rest with {feature}"),
            (true, Some(feature)) => format!("to come with {feature}"),
            (true, None) => "open".to_owned(),
        };
        let tests = tests.join("<br>");
        let _ = writeln!(table, "| {id} | {severity} | {title} | {tests} | {state} |");
    }
    table
}

fn later() -> BTreeMap<String, String> {
    let text = read("tests/assurance/later.txt");
    let entries = text.lines().map(|line| line.split_once(' ').unwrap());
    entries.map(|(id, feature)| (id.to_owned(), feature.to_owned())).collect()
}

#[test]
fn a_tag_names_the_test_below_it() {
    for (file, source, expected) in [
        ("a.rs", "// covers: AU-01\n#[test]\nfn a_b() {", ("a_b", "AU-01")),
        ("a.rs", "// covers: AU-01,AU-02\n#[tokio::test]\nasync fn a() {", ("a", "AU-01 AU-02")),
        ("a.rs", "  // covers: AU-01\n  // why\n  #[test]\n  fn a(x in 0..1) {", ("a", "AU-01")),
        ("a.rs", "// covers: A\n#[tokio::test(start_paused = true)]\nasync fn a()", ("a", "A")),
        ("a.rs", "// covers: A\n// holds: I1\n#[test]\nfn a() {", ("a", "A")),
        ("a.rs", "// holds: I1\n// covers: A\n#[test]\nfn a() {", ("a", "A")),
        ("a.mjs", "  // covers: A, B\n  \"a case\": async () => {", ("a case", "A B")),
        ("a.py", "# covers: A\n@case(\"it's\")", ("it's", "A")),
        ("release", "# covers: A\ncheck 'one' deny \"b\"", ("one", "A")),
    ] {
        let found = tagged(file, source, "covers").unwrap();
        let [Tagged { name, ids, .. }] = &found[..] else { panic!("{source}: {found:?}") };
        assert_eq!((name.as_str(), ids.join(" ").as_str()), expected, "{source}");
    }
}

#[test]
fn a_tag_that_proves_nothing_is_an_error() {
    for (file, source) in [
        ("a.rs", "// covers: A\nfn no_test() {}"),
        ("a.rs", "// covers: A\n#[allow(unused)]\nfn no_test() {}"),
        ("a.rs", "// covers: A\n#[test]\n#[ignore]\nfn ignored() {}"),
        ("a.rs", "// covers: A\n#[test]\n#[ignore = \"why\"]\nfn ignored() {}"),
        ("a.rs", "// covers: A\n\n#[test]\nfn not_directly_below() {}"),
        ("a.rs", "// covers: A\nconst B: () = ();\n#[test]\nfn further_down() {}"),
        ("a.rs", "// covers: A\n// covers: B\n#[test]\nfn two_tags() {}"),
        ("a.rs", "// covers: A"),
        ("a.rs", "//covers: A\n#[test]\nfn almost() {}"),
        ("a.rs", "/// covers: A\n#[test]\nfn almost() {}"),
        ("a.rs", "// Covers: A\n#[test]\nfn almost() {}"),
        ("a.mjs", "// covers: A\nlet nothing = 1;"),
        ("a.py", "# covers: A"),
    ] {
        assert!(tagged(file, source, "covers").is_err(), "{source}");
    }
}

#[test]
fn a_row_without_proof_and_a_tag_without_row_are_errors() {
    let row = |id: &str, severity: &str| Row {
        id: id.to_owned(),
        severity: severity.to_owned(),
        title: String::new(),
    };
    let test =
        |id: &str| Tagged { file: String::new(), name: String::new(), ids: vec![id.to_owned()] };
    let owner = |id: &str| BTreeMap::from([(id.to_owned(), String::new())]);
    for (name, rows, later, tests, problems) in [
        ("a test", vec![row("A", "P0")], BTreeMap::new(), vec![test("A")], 0),
        ("an owner", vec![row("A", "P1")], owner("A"), vec![], 0),
        ("minor", vec![row("A", "P2")], BTreeMap::new(), vec![], 0),
        ("P0", vec![row("A", "P0")], BTreeMap::new(), vec![], 1),
        ("P1", vec![row("A", "P1")], BTreeMap::new(), vec![], 1),
        ("unknown test", vec![row("A", "P2")], BTreeMap::new(), vec![test("B")], 1),
        ("unknown owner", vec![row("A", "P2")], owner("B"), vec![], 1),
        ("twice", vec![row("A", "P2"), row("A", "P2")], BTreeMap::new(), vec![], 1),
    ] {
        assert_eq!(contradictions(&rows, &later, &tests).len(), problems, "{name}");
    }
}

const HEADER: &str = "\
# What this crate withstands

Each row is an attack, and the tests that prove what the crate does about it. P0 breaks authentication,
isolation or secrecy, or lets one peer exhaust or stop the server; P1 is bounded abuse, or a deviation
that others would rely on; P2 is hygiene. Made by `tests/assurance` from the tests themselves; do not
edit.

| row | severity | attack | tests | state |
|---|---|---|---|---|
";
