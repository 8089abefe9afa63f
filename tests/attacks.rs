//! Every row of the attack catalogue has a test, or a feature to come that owns it.
//!
//! The rows are in `attacks/catalogue.txt`: id, severity, what is attacked. A test names those that it
//! proves in the comment directly above it, `// covers: ` and their ids. `attacks/later.txt` names the
//! rows that a later feature proves, wholly or in part. `attacks.md` is made from all three;
//! `BLESS=1 cargo test --test attacks` writes it anew.
#![cfg(test)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
    path::Path,
};

/// A row of the catalogue.
struct Row {
    id: String,
    severity: String,
    title: String,
}

/// A test, and the rows that it says it proves.
#[derive(Debug, PartialEq)]
struct Tagged {
    file: String,
    name: String,
    rows: Vec<String>,
}

#[test]
fn every_row_has_a_test_or_an_owner_and_the_table_says_which() {
    let rows = catalogue();
    let later = later();
    let mut tests = Vec::new();
    let mut problems = Vec::new();
    for folder in ["src", "tests", "examples"] {
        for file in files(folder) {
            match tagged(&file, &read(&file)) {
                Ok(found) if found.is_empty() => {}
                Ok(found) if is_compiled(&file) => tests.extend(found),
                Ok(_) => problems.push(format!("{file}: no `mod` line names it")),
                Err(problem) => problems.push(problem),
            }
        }
    }
    problems.extend(contradictions(&rows, &later, &tests));
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));

    let table = table(&rows, &later, &tests);
    if env::var_os("BLESS").is_some() {
        fs::write(in_repository("tests/attacks.md"), table).unwrap();
    } else if read("tests/attacks.md") != table {
        panic!("tests/attacks.md is out of date: BLESS=1 cargo test --test attacks writes it anew");
    }
}

/// What is wrong with the tags, and with what has none.
fn contradictions(rows: &[Row], later: &BTreeMap<String, String>, tests: &[Tagged]) -> Vec<String> {
    let mut problems = Vec::new();
    let ids: BTreeSet<_> = rows.iter().map(|row| row.id.as_str()).collect();
    if ids.len() != rows.len() {
        problems.push("catalogue.txt has a row twice".to_owned());
    }
    for Tagged { file, name, rows } in tests {
        for id in rows.iter().filter(|id| !ids.contains(id.as_str())) {
            problems.push(format!("{file}: {name} covers {id:?}, which is not in catalogue.txt"));
        }
    }
    for id in later.keys().filter(|id| !ids.contains(id.as_str())) {
        problems.push(format!("later.txt has {id:?}, which is not in catalogue.txt"));
    }
    let proven: BTreeSet<_> = tests.iter().flat_map(|it| &it.rows).collect();
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
        let of_row = tests.iter().filter(|it| it.rows.contains(id));
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

/// The tests of `file` that say what they prove.
fn tagged(file: &str, source: &str) -> Result<Vec<Tagged>, String> {
    let rust = file.ends_with(".rs");
    let comment = if rust || file.ends_with(".mjs") { "//" } else { "#" };
    let mut lines = source.lines().map(str::trim);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(ids) = tag(line, comment) else {
            continue;
        };
        let ids = ids.map_err(|problem| format!("{file}: {problem}"))?;
        let rows = ids.split(',').map(|id| id.trim().to_owned()).collect();
        let name = if rust { test_name(&mut lines) } else { case_name(lines.next()) };
        let name = name.map_err(|problem| format!("{file}: {line}: {problem}"))?;
        found.push(Tagged { file: file.to_owned(), name, rows });
    }
    Ok(found)
}

/// The ids in `line` if it is a tag; an error if it is almost one.
fn tag<'a>(line: &'a str, comment: &str) -> Option<Result<&'a str, String>> {
    let text = line.strip_prefix(comment)?;
    if let Some(ids) = text.strip_prefix(" covers: ") {
        return Some(Ok(ids));
    }
    let word = text.trim_start_matches(['/', '!', '#', ' ']).get(..7)?;
    word.eq_ignore_ascii_case("covers:").then(|| Err(format!("almost a tag: {line}")))
}

/// The function that the next lines begin, if it is a test that runs.
fn test_name<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Result<String, String> {
    let mut is_test = false;
    for line in lines {
        let signature = line.strip_prefix("async ").unwrap_or(line);
        if let Some(rest) = signature.strip_prefix("fn ") {
            let name: String =
                rest.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect();
            return if is_test { Ok(name) } else { Err(format!("{name} is not a test")) };
        }
        let runs = ["#[test]", "#[tokio::test]", "#[tokio::test("];
        is_test |= runs.iter().any(|it| line.starts_with(it));
        if line.starts_with("#[ignore") {
            return Err("the test is ignored".to_owned());
        }
        let between = line.starts_with("//") || line.starts_with("#[");
        if !between || tag(line, "//").is_some() {
            return Err("not directly above a test".to_owned());
        }
    }
    Err("not above anything".to_owned())
}

/// What `line` has in quotes: how the scripts name a case.
fn case_name(line: Option<&str>) -> Result<String, String> {
    let line = line.unwrap_or_default();
    let named = || {
        let at = line.find(['"', '\''])?;
        let (quote, rest) = line.split_at_checked(at)?.1.split_at_checked(1)?;
        Some(rest.split_once(quote)?.0.to_owned())
    };
    named().ok_or_else(|| format!("no case is named in {line:?}"))
}

/// Whether a line makes `file` part of something: the compiler does not miss a file.
fn is_compiled(file: &str) -> bool {
    let path = Path::new(file);
    let (folder, stem) = (path.parent().unwrap(), path.file_stem().unwrap().to_str().unwrap());
    if !file.ends_with(".rs") || folder == Path::new("tests") {
        return true;
    }
    let has = |parent: &Path, wanted: &str| {
        let parent = fs::read_to_string(in_repository(parent)).unwrap_or_default();
        parent.lines().any(|line| line.trim().ends_with(wanted))
    };
    let module = format!("mod {stem};");
    let by_path = format!("#[path = \"tests/{stem}.rs\"]");
    ["mod.rs", "main.rs", "lib.rs"].iter().any(|parent| has(&folder.join(parent), &module))
        || has(&folder.with_file_name(format!("{stem}.rs")), &by_path)
}

fn catalogue() -> Vec<Row> {
    let row = |line: &str| {
        let (id, rest) = line.split_once(' ')?;
        let (severity, title) = rest.split_once(' ')?;
        let known = matches!(severity, "P0" | "P1" | "P2");
        known.then(|| Row { id: id.into(), severity: severity.into(), title: title.into() })
    };
    let text = read("tests/attacks/catalogue.txt");
    text.lines().map(|line| row(line).unwrap_or_else(|| panic!("no row: {line}"))).collect()
}

fn later() -> BTreeMap<String, String> {
    let text = read("tests/attacks/later.txt");
    let entries = text.lines().map(|line| line.split_once(' ').unwrap());
    entries.map(|(id, feature)| (id.to_owned(), feature.to_owned())).collect()
}

/// The files below `folder` in which a tag may stand, in one order everywhere.
fn files(folder: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(in_repository(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        let others = ["node_modules", ".venv", "__pycache__", "attacks", "attacks.rs"];
        if others.contains(&name.as_str()) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            found.append(&mut files(&path));
        } else if [".rs", ".mjs", ".py", "/release"].iter().any(|end| path.ends_with(end)) {
            found.insert(path);
        }
    }
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(in_repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn in_repository(path: impl AsRef<Path>) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn a_tag_names_the_test_below_it() {
    for (file, source, expected) in [
        ("a.rs", "// covers: AU-01\n#[test]\nfn a_b() {", ("a_b", "AU-01")),
        ("a.rs", "// covers: AU-01,AU-02\n#[tokio::test]\nasync fn a() {", ("a", "AU-01 AU-02")),
        ("a.rs", "  // covers: AU-01\n  // why\n  #[test]\n  fn a(x in 0..1) {", ("a", "AU-01")),
        ("a.rs", "// covers: A\n#[tokio::test(start_paused = true)]\nasync fn a()", ("a", "A")),
        ("a.mjs", "  // covers: A, B\n  \"a case\": async () => {", ("a case", "A B")),
        ("a.py", "# covers: A\n@case(\"it's\")", ("it's", "A")),
        ("release", "# covers: A\ncheck 'one' deny \"b\"", ("one", "A")),
    ] {
        let found = tagged(file, source).unwrap();
        let [Tagged { name, rows, .. }] = &found[..] else { panic!("{source}: {found:?}") };
        assert_eq!((name.as_str(), rows.join(" ").as_str()), expected, "{source}");
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
        assert!(tagged(file, source).is_err(), "{source}");
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
        |id: &str| Tagged { file: String::new(), name: String::new(), rows: vec![id.to_owned()] };
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
that others would rely on; P2 is hygiene. Made by `tests/attacks.rs` from the tests themselves; do not
edit.

| row | severity | attack | tests | state |
|---|---|---|---|---|
";
