//! SECURITY.md promises that what it names is there; a promise in prose breaks with the next rename.
#![cfg(test)]

use std::{fs, path::PathBuf};

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn document() -> String {
    fs::read_to_string(repository("SECURITY.md")).unwrap()
}

/// What is between backticks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The tests that `text` names: file and name.
fn named_tests(text: &str) -> impl Iterator<Item = (&str, &str)> {
    // `Type::method` is code, too.
    code_spans(text).filter_map(|it| it.split_once("::")).filter(|it| it.0.contains(['/', '.']))
}

/// The targets of the links in `text`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|it| it.split_once(')')).map(|it| it.0)
}

/// The part of `text` under the heading `title`, up to the next of its level.
fn section<'a>(text: &'a str, title: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\n## {title}\n")).unwrap_or_default();
    rest.split_once("\n## ").map_or(rest, |it| it.0)
}

/// The rows of the tables in `text`, without heads and rules.
fn rows(text: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<_> = text.lines().collect();
    let rule = |n: usize| lines.get(n).is_some_and(|it| it.starts_with("|---"));
    let keep: Vec<_> = (0..lines.len()).filter(|n| !rule(*n) && !rule(n + 1)).collect();
    keep.into_iter().filter_map(move |n| lines.get(n).copied()).filter(|it| it.starts_with('|'))
}

/// How the heading `line` is called in a link.
fn anchor(line: &str) -> String {
    let text = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    text.chars().filter(|it| it.is_alphanumeric() || "-_".contains(*it)).collect()
}

/// The tests that run when `file` does, by their names.
fn tests_in(file: &str) -> Vec<String> {
    let source = fs::read_to_string(repository(file)).unwrap_or_default();
    match file.rsplit_once('.').map(|it| it.1) {
        Some("rs") => functions(&source),
        Some("mjs" | "py") if file.starts_with("tests/clients/") => cases(&source),
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

/// What `document` says that is not so.
fn problems(document: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (file, name) in named_tests(document) {
        if !tests_in(file).iter().any(|it| it == name) {
            problems.push(format!("no test: {file}::{name}"));
        }
    }
    let headings: Vec<_> = document.lines().filter(|it| it.starts_with('#')).map(anchor).collect();
    for link in links(document) {
        let there = match link.strip_prefix('#') {
            Some(heading) => headings.iter().any(|it| it == heading),
            None => link.starts_with("https://") || repository(link).exists(),
        };
        if !there {
            problems.push(format!("no target: {link}"));
        }
    }
    for path in code_spans(document).filter(|it| !it.contains("::")) {
        let ours = ["src/", "tests/", "examples/"].iter().any(|it| path.starts_with(it));
        if ours && !repository(path).exists() {
            problems.push(format!("no file: {path}"));
        }
    }
    let questions: Vec<_> = section(document, "Seven questions").split("\n### ").skip(1).collect();
    if questions.len() != 7 {
        problems.push(format!("{} questions", questions.len()));
    }
    for question in questions {
        if rows(question).flat_map(named_tests).next().is_none() {
            problems.push(format!("no answer: {}", question.lines().next().unwrap_or_default()));
        }
    }
    let (answers, incidents) = ("Seven questions", "Incidents elsewhere");
    for row in [answers, incidents].into_iter().flat_map(|it| rows(section(document, it))) {
        if named_tests(row).next().is_none() {
            problems.push(format!("no evidence: {row}"));
        }
    }
    for row in rows(section(document, "Threat model")) {
        if links(row).next().is_none() {
            problems.push(format!("no mitigation: {row}"));
        }
    }
    problems
}

#[test]
fn everything_that_the_document_names_is_there() {
    let document = document();
    assert_eq!(problems(&document), [""; 0]);
    // What is not recognized is not checked.
    assert_eq!(
        named_tests(&document).count(),
        document.matches(".rs::").count() + scripts(&document)
    );
    assert!(rows(section(&document, "Incidents elsewhere")).count() > 10);
    assert!(rows(section(&document, "Threat model")).count() > 20);
}

fn scripts(document: &str) -> usize {
    document.matches(".mjs::").count() + document.matches(".py::").count()
}

#[test]
fn whatever_is_not_there_is_found() {
    let changes = [
        ("::a_refusal_does_not_tell_why", "::a_refusal_tells_why", "no test: "),
        ("::a_refusal_does_not_tell_why", "::assert_untouched", "no test: "),
        ("tests/it/heartbeat.rs::", "tests/it/heart.rs::", "no test: "),
        ("::chat before auth is 4403", "::chat before auth is fine", "no test: "),
        ("check.py::who left hears nothing", "check.py::CASES", "no test: "),
        ("(src/budget.rs)", "(src/budgets.rs)", "no target: "),
        ("(#seven-questions)", "(#eight-questions)", "no target: "),
        ("`tests/release`", "`tests/releases`", "no file: "),
        ("\n### 5. ", "\n#### 5. ", "6 questions"),
        ("| CVE-2014-0193", "| CVE-0000-0000 | nothing | none |\n| CVE-2014-0193", "no evidence: "),
        ("[budget.rs](src/budget.rs)", "a budget", "no mitigation: "),
    ];
    let document = document();
    for (from, to, problem) in changes {
        let changed = document.replacen(from, to, 1);
        assert_ne!(changed, document, "{from}");
        let found = problems(&changed);
        assert!(found.iter().any(|it| it.starts_with(problem)), "{from} to {to}: {found:?}");
    }
    // A question whose table is gone.
    let (before, rest) = document.split_once("\n### 6. ").unwrap();
    let (question, after) = rest.split_once("\n### 7. ").unwrap();
    let bare: String = question.lines().filter(|it| !it.starts_with('|')).collect();
    let found = problems(&format!("{before}\n### 6. {bare}\n### 7. {after}"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found.iter().all(|it| it.starts_with("no answer: ")), "{found:?}");
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
