//! What the tests say that they prove, in the comments directly above them, and the attacks there are.
//!
//! `// covers: AU-01, AU-02` names rows of the catalogue of attacks, `// holds: I1` what always holds.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A row of the catalogue.
pub struct Row {
    pub id: String,
    pub severity: String,
    pub title: String,
}

/// A test, and the ids of what it says it proves.
#[derive(Clone, Debug, PartialEq)]
pub struct Tagged {
    pub file: String,
    pub name: String,
    pub ids: Vec<String>,
}

/// All tests with a tag of this `word`, or what is wrong with the tags.
pub fn all_tagged(word: &str) -> Result<Vec<Tagged>, Vec<String>> {
    let mut tests = Vec::new();
    let mut problems = Vec::new();
    for folder in ["src", "tests", "examples", "scripts"] {
        for file in files(folder) {
            match tagged(&file, &read(&file), word) {
                Ok(found) if found.is_empty() => {}
                Ok(found) if is_compiled(&file) => tests.extend(found),
                Ok(_) => problems.push(format!("{file}: no `mod` line names it")),
                Err(problem) => problems.push(problem),
            }
        }
    }
    if problems.is_empty() { Ok(tests) } else { Err(problems) }
}

pub fn catalogue() -> Vec<Row> {
    let row = |line: &str| {
        let (id, rest) = line.split_once(' ')?;
        let (severity, title) = rest.split_once(' ')?;
        let known = matches!(severity, "P0" | "P1" | "P2");
        known.then(|| Row { id: id.into(), severity: severity.into(), title: title.into() })
    };
    let text = read("tests/assurance/catalogue.txt");
    text.lines().map(|line| row(line).unwrap_or_else(|| panic!("no row: {line}"))).collect()
}

/// The tests of `file` that say with this `word` what they prove.
pub fn tagged(file: &str, source: &str, word: &str) -> Result<Vec<Tagged>, String> {
    let rust = file.ends_with(".rs");
    let comment = if rust || file.ends_with(".mjs") { "//" } else { "#" };
    let mut lines = source.lines().map(str::trim);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(ids) = tag(line, comment, word) else {
            continue;
        };
        let ids = ids.map_err(|problem| format!("{file}: {problem}"))?;
        let ids = ids.split(',').map(|id| id.trim().to_owned()).collect();
        let name = if rust { test_name(&mut lines, word) } else { case_name(lines.next()) };
        let name = name.map_err(|problem| format!("{file}: {line}: {problem}"))?;
        found.push(Tagged { file: file.to_owned(), name, ids });
    }
    Ok(found)
}

/// The ids in `line` if it is a tag; an error if it is almost one.
fn tag<'a>(line: &'a str, comment: &str, word: &str) -> Option<Result<&'a str, String>> {
    let text = line.strip_prefix(comment)?;
    if let Some(ids) = text.strip_prefix(&format!(" {word}: ")) {
        return Some(Ok(ids));
    }
    let (begin, _) = text.trim_start_matches(['/', '!', '#', ' ']).split_once(':')?;
    begin.eq_ignore_ascii_case(word).then(|| Err(format!("almost a tag: {line}")))
}

/// The function that the next lines begin, if it is a test that runs.
fn test_name<'a>(lines: &mut impl Iterator<Item = &'a str>, word: &str) -> Result<String, String> {
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
        if !between || tag(line, "//", word).is_some() {
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
    // Cargo finds these by themselves.
    let target = !file.starts_with("src") && (folder.ends_with("tests") || stem == "main");
    if !file.ends_with(".rs") || target {
        return true;
    }
    let has = |parent: &Path, wanted: &str| {
        let parent = fs::read_to_string(in_repository(parent)).unwrap_or_default();
        parent.lines().any(|line| line.trim().ends_with(wanted))
    };
    let module = format!("mod {stem};");
    let by_path = format!("#[path = \"tests/{stem}.rs\"]");
    ["mod.rs", "main.rs", "lib.rs"].iter().any(|parent| has(&folder.join(parent), &module))
        || in_folder(folder.parent().unwrap_or(folder)).iter().any(|it| has(it, &by_path))
}

fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(in_repository(folder)).into_iter().flatten().flatten();
    entries.map(|it| folder.join(it.file_name())).collect()
}

/// The files below `folder` in which a tag may stand, in one order everywhere. Those that judge the
/// tags have examples of them.
pub fn files(folder: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(in_repository(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        let others = ["node_modules", ".venv", "__pycache__", "assurance"];
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

pub fn read(path: &str) -> String {
    fs::read_to_string(in_repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn in_repository(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
