//! The folders of `src` stand in layers: none needs another that needs it.
#![cfg(test)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

type Graph = BTreeMap<String, BTreeSet<String>>;

/// What a file needs of the crate, each as a folder (or file) of `src` and what it is in there.
fn needs(source: &str) -> Vec<(String, Option<String>)> {
    let comment = |line: &&str| !line.trim_start().starts_with("//");
    let code = source.lines().filter(comment).collect::<Vec<_>>().join("\n");
    // Tests stand last, and may need anything.
    let tests = ["mod ", "pub(", "#[path"].map(|it| format!("\n#[cfg(test)]\n{it}"));
    let end = tests.iter().filter_map(|it| code.find(it)).min().unwrap_or(code.len());
    let mut found = Vec::new();
    for (at, _) in code[..end].match_indices("crate::") {
        paths(&code[at + "crate::".len()..end], &mut found);
    }
    found
}

/// The paths of a tree like `a::{b, c::d}`, as far as their first two names.
fn paths(tree: &str, found: &mut Vec<(String, Option<String>)>) {
    let (mut path, mut open): (Vec<&str>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut rest = tree;
    loop {
        rest = rest.trim_start_matches([':', ' ', '\n']);
        let name = rest.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(rest.len());
        if name > 0 {
            path.push(&rest[..name]);
            rest = &rest[name..];
            continue;
        }
        let next = rest.chars().next().unwrap_or(';');
        if next == '{' {
            open.push(path.len());
        } else if let Some(first) = path.first() {
            found.push(((*first).to_owned(), path.get(1).map(|it| (*it).to_owned())));
        }
        if next == '}' {
            open.pop();
        }
        if next != '{' {
            path.truncate(open.last().copied().unwrap_or(0));
        }
        if open.is_empty() || !matches!(next, '{' | '}' | ',') {
            return;
        }
        rest = &rest[1..];
    }
}

/// Each file below `folder` that belongs to the library, with its path from there.
fn sources(folder: &Path, from: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            // What serves tests is above everything.
            if name != "tests" && name != "testing" {
                sources(&path, from, found);
            }
        } else if path.extension().is_some_and(|it| it == "rs") && name != "internal" {
            let at = path.strip_prefix(from).unwrap().with_extension("");
            found
                .push((at.to_str().unwrap().replace('\\', "/"), fs::read_to_string(path).unwrap()));
        }
    }
}

/// A way from `at` back to where it has been, if there is one.
fn circle(graph: &Graph, at: &str, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
    if way.iter().any(|it| it == at) {
        way.push(at.to_owned());
        return true;
    }
    if !done.insert(at.to_owned()) {
        return false;
    }
    way.push(at.to_owned());
    let found = graph.get(at).is_some_and(|all| all.iter().any(|it| circle(graph, it, way, done)));
    if !found {
        way.pop();
    }
    found
}

/// The graph of what is below `folder`, by what `edge` says of a file and of each thing that it needs.
fn assert_layered(
    folder: &str,
    edge: impl Fn(&str, String, Option<String>) -> Option<(String, String)>,
) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut files, mut graph, mut done) = (Vec::new(), Graph::new(), BTreeSet::new());
    sources(&folder, &folder, &mut files);
    for (file, source) in files.iter().filter(|(file, _)| file != "lib") {
        for (from, to) in needs(source).into_iter().filter_map(|(a, b)| edge(file, a, b)) {
            graph.entry(from).or_default().insert(to);
        }
    }
    assert!(graph.len() > 5, "{graph:?}");
    for at in graph.keys() {
        let mut way = Vec::new();
        assert!(!circle(&graph, at, &mut way, &mut done), "{}", way.join(" -> "));
    }
}

#[test]
fn no_folder_needs_one_that_needs_it() {
    assert_layered("src", |file, needed, _| {
        let folder = file.split('/').next()?;
        (folder != needed).then(|| (folder.to_owned(), needed))
    });
}

#[test]
fn no_file_of_the_driver_needs_one_that_needs_it() {
    assert_layered("src/driver", |file, needed, within| {
        (needed == "driver").then_some((file.to_owned(), within?))
    });
}
