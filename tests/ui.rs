//! What the compiler says first to somebody who puts a stack together wrongly.
//!
//! A case is a file in `tests/ui`, whose first line is the first line of its error.
#![cfg(test)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use serde_json::Value;

/// What the cases are compiled against: what this test was compiled against.
struct Libraries {
    folder: PathBuf,
    externs: Vec<String>,
}

impl Libraries {
    /// Builds this test as cargo has just done, and so builds nothing, but is told of every file.
    fn find() -> Self {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.args(["test", "--no-run", "--quiet", "--test", "ui", "--message-format", "json"]);
        if cfg!(feature = "testing") {
            cargo.args(["--features", "testing"]);
        }
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut files = Vec::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let message: Value = serde_json::from_str(line).unwrap();
            let name = message["target"]["name"].as_str().unwrap_or_default().to_owned();
            let file = message["filenames"].as_array().into_iter().flatten().next();
            if let Some(file) = file.and_then(Value::as_str).filter(|it| it.ends_with("lib")) {
                files.push((name, PathBuf::from(file)));
            }
        }
        let file = |wanted: &str| &files.iter().find(|it| it.0 == wanted).unwrap().1;
        let named = |it: &&str| format!("{it}={}", file(it).display());
        let externs = ["serde", "tower", "tower_websocket"].iter().map(named).collect();
        // The library itself is a step above, too: tower is not.
        Self { folder: file("tower").parent().unwrap().to_owned(), externs }
    }

    /// The first line of what the compiler says to `case`, if it says anything.
    fn error(&self, case: &Path) -> Option<String> {
        let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or("rustc".into()));
        rustc.args(["--edition", "2024", "--emit", "metadata", "-A", "warnings"]);
        // Long names of types are written to a file there, too.
        rustc.args(["--out-dir", env!("CARGO_TARGET_TMPDIR")]);
        rustc.arg(case).arg("-L").arg(format!("dependency={}", self.folder.display()));
        for library in &self.externs {
            rustc.args(["--extern", library]);
        }
        let output = rustc.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().find(|it| it.starts_with("error"));
        assert_eq!(line.is_none(), output.status.success(), "{text}");
        // How much of a path it takes to tell two names apart is not what this is about.
        line.map(|it| PATHS.iter().fold(it.to_owned(), |line, path| line.replace(path, "")))
    }
}

#[test]
fn the_first_line_of_an_error_says_what_is_wrong() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let libraries = &Libraries::find();
    let files = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let mut cases: Vec<_> = files.filter(|it| !it.ends_with("prelude.rs")).collect();
    cases.sort();
    let check = |case: &Path| {
        let text = fs::read_to_string(case).unwrap();
        let expected = text.lines().next().and_then(|it| it.strip_prefix("//~ "));
        let said = libraries.error(case);
        let name = case.file_name()?.to_owned();
        (said.as_deref() != expected)
            .then(|| format!("{name:?}\n  has  {expected:?}\n  said {said:?}"))
    };
    let wrong: Vec<_> = thread::scope(|scope| {
        let halves = cases.chunks(cases.len().div_ceil(AT_ONCE));
        let check =
            |cases| move || Vec::from_iter(<[PathBuf]>::iter(cases).filter_map(|it| check(it)));
        let running: Vec<_> = halves.map(|it| scope.spawn(check(it))).collect();
        running.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.len() > 10, "{cases:?}");
}

const PATHS: [&str; 4] = ["tower_websocket::", "layers::", "prelude::", "serde::"];

const AT_ONCE: usize = 2;
