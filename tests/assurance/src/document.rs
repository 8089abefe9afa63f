//! Find in SECURITY.md what it names, and in the files it names the tests that are there.

use std::fs;

use crate::evidence::in_repository;

/// What is between backticks.
pub fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The tests that `text` names: file and name.
pub fn named_tests(text: &str) -> impl Iterator<Item = (&str, &str)> {
    // `Type::method` is code, too.
    code_spans(text).filter_map(|it| it.split_once("::")).filter(|it| it.0.contains(['/', '.']))
}

/// The targets of the links in `text`.
pub fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|it| it.split_once(')')).map(|it| it.0)
}

/// The places in the code that `text` names: what is there, and the file.
pub fn places(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("[`").skip(1).filter_map(|it| it.split_once("`](")).filter_map(|(name, rest)| {
        let (file, _) = rest.split_once(')')?;
        Some((name, file))
    })
}

/// What is in a file, or in all files of a folder; nothing if it is not there.
pub fn source(path: &str) -> String {
    let path = in_repository(path);
    let files = fs::read_dir(&path).map(|files| files.flatten().map(|it| it.path()).collect());
    let files: Vec<_> = files.unwrap_or_else(|_| vec![path]);
    files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
}

/// The part of `text` under the heading `title`, up to the next of its level.
pub fn section<'a>(text: &'a str, title: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\n## {title}\n")).unwrap_or_default();
    rest.split_once("\n## ").map_or(rest, |it| it.0)
}

/// The rows of the tables in `text`, without heads and rules.
pub fn rows(text: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<_> = text.lines().collect();
    let rule = |n: usize| lines.get(n).is_some_and(|it| it.starts_with("|---"));
    let keep: Vec<_> = (0..lines.len()).filter(|n| !rule(*n) && !rule(n + 1)).collect();
    keep.into_iter().filter_map(move |n| lines.get(n).copied()).filter(|it| it.starts_with('|'))
}

/// How the heading `line` is called in a link.
pub fn anchor(line: &str) -> String {
    let text = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    text.chars().filter(|it| it.is_alphanumeric() || "-_".contains(*it)).collect()
}

/// The tests that run when `file` does, by their names.
pub fn tests_in(file: &str) -> Vec<String> {
    let source = fs::read_to_string(in_repository(file)).unwrap_or_default();
    match file.rsplit_once('.').map(|it| it.1) {
        Some("rs") => functions(&source),
        Some("mjs" | "py") if file.starts_with("tests/clients/") => cases(&source),
        None if file == "scripts/release" => checks(&source),
        _ => Vec::new(),
    }
}

/// Functions with the attribute of a test, unless they are ignored.
fn functions(source: &str) -> Vec<String> {
    let (mut found, mut test, mut ignored) = (Vec::new(), false, false);
    for line in source.lines().map(str::trim) {
        test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        ignored |= line.starts_with("#[ignore");
        if let Some(rest) = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ") {
            if test && !ignored {
                found.extend(rest.split(['(', '<']).next().map(str::to_owned));
            }
            (test, ignored) = (false, false);
        }
    }
    found
}

/// Cases of the scripts that stock clients run.
fn cases(source: &str) -> Vec<String> {
    let begins = ["test(\"", "@case(\"", "refused(\"", "\""];
    let name = |line: &str| {
        let rest = begins.iter().find_map(|it| line.strip_prefix(it))?;
        let (name, rest) = rest.split_once('"')?;
        rest.starts_with([':', ',', ')']).then(|| name.to_owned())
    };
    source.lines().filter_map(|line| name(line.trim())).collect()
}

/// Checks of the script for releases.
fn checks(source: &str) -> Vec<String> {
    let name = |line: &str| {
        let (command, rest) = line.split_once(" '")?;
        let name = rest.split_once('\'')?.0.to_owned();
        command.ends_with("check").then_some(name)
    };
    source.lines().filter_map(|line| name(line.trim())).collect()
}

/// The cells of a row of a table.
pub fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

/// The words in `text` that have the form of a row of the catalogue: `AU-01`, `P2-10`.
pub fn row_ids(text: &str) -> impl Iterator<Item = &str> {
    let is_id = |it: &&str| {
        let (layer, number) = it.split_once('-').unwrap_or_default();
        let digits = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
        let layer_has_form = layer == "P2" || layer.bytes().all(|it| it.is_ascii_uppercase());
        layer.len() == 2 && number.len() == 2 && layer_has_form && digits(number)
    };
    text.split(|it: char| !it.is_alphanumeric() && it != '-').filter(is_id)
}

#[test]
fn a_test_is_a_function_that_runs_as_one() {
    let source = r#"
        fn helper() {}
        #[test]
        fn plain() {}
        #[tokio::test(start_paused = true)]
        async fn paused() {}
        #[test]
        #[ignore]
        fn ignored() {}
        fn after() {}
            #[test]
            fn property(n in 0..3) {}
    "#;
    assert_eq!(functions(source), ["plain", "paused", "property"]);
}
