//! SECURITY.md promises that what it names is there; a promise in prose breaks with the next rename.
//!
//! That every row of the catalogue of attacks has a test is `attacks.rs`' to see.
#![cfg(test)]

mod checklists;
mod invariants;

use std::collections::BTreeSet;

use assurance::document::{
    anchor, code_spans, links, named_tests, places, row_ids, rows, section, source, tests_in,
};
use assurance::evidence::{catalogue, in_repository, read};

/// All documents as one. Each of those in `docs/assurance` is a section.
fn document() -> String {
    let mut document = read("SECURITY.md");
    for name in ["invariants", "questions", "incidents", "checklists"] {
        document += "\n#";
        document += &read(&format!("docs/assurance/{name}.md"))
            .replace("\n## ", "\n### ")
            .replace("](../../", "](")
            .replace("](attacks.md", "](docs/assurance/attacks.md");
    }
    document
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
            None => link.starts_with("https://") || in_repository(link).exists(),
        };
        if !there {
            problems.push(format!("no target: {link}"));
        }
    }
    for path in code_spans(document).filter(|it| !it.contains("::")) {
        let ours = ["src/", "tests/", "examples/", "scripts/", "clients/", "docs/"]
            .iter()
            .any(|it| path.starts_with(it));
        if ours && !in_repository(path).exists() {
            problems.push(format!("no file: {path}"));
        }
    }
    let attacks: BTreeSet<_> = catalogue().into_iter().map(|it| it.id).collect();
    for id in row_ids(document).filter(|id| !attacks.contains(*id)) {
        problems.push(format!("no row: {id}"));
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
        let mut places = places(row).peekable();
        if places.peek().is_none() {
            problems.push(format!("no mitigation: {row}"));
        }
        for (name, file) in places {
            if !source(file).contains(name) {
                problems.push(format!("not there: {name} in {file}"));
            }
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
    assert!(row_ids(&document).count() > 50);
    assert!(rows(section(&document, "Incidents elsewhere")).count() > 10);
    assert!(rows(section(&document, "Threat model")).count() > 20);
}

fn scripts(document: &str) -> usize {
    [".mjs::", ".py::", "/release::"].iter().map(|it| document.matches(it).count()).sum()
}

#[test]
fn whatever_is_not_there_is_found() {
    let changes = [
        ("::a_refusal_does_not_tell_why", "::a_refusal_tells_why", "no test: "),
        ("::a_refusal_does_not_tell_why", "::assert_untouched", "no test: "),
        ("tests/it/heartbeat.rs::", "tests/it/heart.rs::", "no test: "),
        ("::chat before auth is 4403", "::chat before auth is fine", "no test: "),
        ("check.py::who left hears nothing", "check.py::CASES", "no test: "),
        ("::dependencies: advisories", "::dependencies: advice", "no test: "),
        ("| AU-01, AU-02 |", "| AU-01, AU-99 |", "no row: "),
        ("(src/outbound/budget.rs)", "(src/outbound/budgets.rs)", "no target: "),
        ("`scripts/release`", "`scripts/releases`", "no file: "),
        ("\n### 5. ", "\n#### 5. ", "6 questions"),
        ("| CVE-2014-0193", "| CVE-0000-0000 | nothing | none |\n| CVE-2014-0193", "no evidence: "),
        ("[`MemoryBudget`](src/outbound/budget.rs)", "a budget", "no mitigation: "),
        ("[`MemoryBudget`]", "[`MemoryBank`]", "not there: "),
    ];
    let document = document();
    for (from, to, problem) in changes {
        let changed = document.replacen(from, to, 1);
        assert!(changed != document, "{from}");
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
