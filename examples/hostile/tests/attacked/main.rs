//! The hostile example finds nothing in the reference server, and much in a server without its care.
#![cfg(test)]

mod plain;
mod rogue;

use std::{collections::BTreeSet, net::SocketAddr, process::Output, time::Duration};

use test_support::program::{Program, built, in_repository};
use tokio::{io::AsyncReadExt as _, net::TcpListener, process::Command, time::timeout};

/// Runs the example to its end, whatever that is.
async fn hostile(url: &str, args: &[&str]) -> (Option<i32>, String) {
    let ran =
        Command::new(env!("CARGO_BIN_EXE_hostile")).arg(url).args(args).kill_on_drop(true).output();
    let Output { status, stdout, stderr } =
        timeout(PATIENCE, ran).await.expect("it goes on running").unwrap();
    let text = [stdout, stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
    (status.code(), text)
}

fn url(addr: SocketAddr) -> String {
    format!("ws://{addr}/ws")
}

async fn reference_server(args: &[&str], env: &[(&str, &str)]) -> (Program, String) {
    let mut server =
        Program::start(built("reference-server"), &[&["--port", "0"], args].concat(), env);
    let addr = server.addr().await;
    (server, url(addr))
}

#[tokio::test]
async fn nothing_is_found_in_the_reference_server() {
    let (_server, url) = reference_server(
        &[],
        &[
            ("AUTH_TIMEOUT_MS", "2000"),
            ("HEADER_TIMEOUT_MS", "2000"),
            ("HEARTBEAT_INTERVAL_MS", "2000"),
            // More than a slow message may take, and a ping in which no pong can stand.
            ("PONG_TIMEOUT_MS", "11000"),
            ("HTTP_TIMEOUT_MS", "2000"),
            // All rows are tried from one address, with more handshakes than one has.
            ("HANDSHAKE_RATE_PER_PEER", "500"),
            ("FAILED_LOGIN_BURST", "200"),
        ],
    )
    .await;
    let args = [
        ["--auth-timeout", "2000"],
        ["--header-timeout", "2000"],
        ["--ping-interval", "2000"],
        ["--pong-timeout", "11000"],
        ["--http-timeout", "2000"],
        ["--page", "/client.mjs"],
        ["--failed-logins", "200"],
        // A busy machine is no finding.
        ["--patience", "5000"],
    ];
    let (code, report) = hostile(&url, args.as_flattened()).await;
    assert_eq!(code, Some(0), "{report}");
    // All but the one that takes all there is.
    let tried = rows_that_can_be_tried().await.len() - 1;
    assert!(report.contains(&format!("rows: {tried} tried, {tried} passed")), "{report}");
}

#[tokio::test]
async fn what_the_reference_server_is_started_with_is_what_is_attacked() {
    // Origins are compared with their scheme where somebody has said which one it is.
    let (_server, url) =
        reference_server(&["--allow-origin", "https://app.example", "--dev-token", "secret"], &[])
            .await;
    let rows = ["--only", "HS-04,HS-05,HS-06,AU-01"];
    let shape = ["--origin", "https://app.example", "--token", "secret:{user}"];
    let (code, report) = hostile(&url, &[rows.as_slice(), &shape].concat()).await;
    assert_eq!(code, Some(0), "{report}");
}

#[tokio::test]
async fn a_header_that_somebody_gives_goes_into_the_handshake() {
    let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = url(server.local_addr().unwrap());
    let heard = async {
        // The first socket only looks whether anybody is there.
        let _look = server.accept().await.unwrap();
        let (mut socket, _) = server.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(socket.read_buf(&mut head).await.unwrap(), 0);
        }
        String::from_utf8(head).unwrap()
    };
    let args = ["--header", "Cookie: session=ada", "--header", "X-Tenant: acme"];
    let ((code, report), head) = tokio::join!(hostile(&url, &args), heard);
    assert_eq!(code, Some(2), "{report}");
    for line in ["\r\nCookie: session=ada\r\n", "\r\nX-Tenant: acme\r\n"] {
        assert!(head.contains(line), "{head}");
    }
}

#[tokio::test]
async fn protection_that_is_switched_off_is_a_finding() {
    let lifted = [
        ["--auth-timeout-ms", "60000"],
        ["--allow-origin", "https://evil.example"],
        ["--max-message-bytes", "65536"],
        ["--message-rate", "100000"],
        ["--message-burst", "100000"],
        ["--user-rate", "100000"],
        ["--user-burst", "100000"],
    ];
    let (_server, url) = reference_server(lifted.as_flattened(), &[]).await;
    let rows = "AU-01,AU-03,FR-05,HS-04,MS-01,MS-19,MS-23,RM-01";
    let args = [["--only", rows], ["--auth-timeout", "1000"]];
    let (code, report) = hostile(&url, args.as_flattened()).await;
    assert_eq!(code, Some(1), "{report}");
    let found: Vec<_> = findings(&report).collect();
    assert_eq!(found, ["P0 AU-03", "P0 HS-04", "P0 MS-01", "P1 MS-19", "P1 MS-23"], "{report}");
}

#[tokio::test]
async fn too_few_handshakes_for_all_rows_are_told_in_the_first_line_and_are_no_finding() {
    let (_server, url) = reference_server(&["--handshake-rate", "2"], &[]).await;
    for rows in ["P2-12,MS-01,FR-05", "AU-01,MS-01,XX-01"] {
        let (code, report) = hostile(&url, &["--only", rows]).await;
        assert_eq!(code, Some(2), "{report}");
        let first = report.lines().next().unwrap();
        assert!(
            first.contains("429") && first.contains("--handshake-rate-per-peer 500"),
            "{report}"
        );
        assert_eq!(findings(&report).count(), 0, "{report}");
    }
}

// covers: HS-23
#[tokio::test]
async fn an_address_that_a_peer_only_claims_counts_for_nothing() {
    let (_server, url) = reference_server(&["--max-connections-per-peer", "10"], &[]).await;
    let args = ["--only", "HS-21,HS-23", "--max-connections-per-peer", "10"];
    let (code, report) = hostile(&url, &args).await;
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("rows: 2 tried, 2 passed"), "{report}");
}

#[tokio::test]
async fn what_one_address_takes_is_no_part_of_what_others_have() {
    let (_server, url) = reference_server(&[], &[]).await;
    let args = ["--only", "HS-30", "--other-address", "127.0.0.2"];
    let (code, report) = hostile(&url, &args).await;
    assert_eq!(code, Some(0), "{report}");
    // Nothing is known about it from one address.
    let (code, report) = hostile(&url, &["--only", "HS-30"]).await;
    assert_eq!(code, Some(2), "{report}");

    // As many for one as for all, and so few that the slowest machine asks for more.
    let shared = [
        ["--handshake-rate", "20"],
        ["--handshake-rate-per-peer", "20"],
        ["--max-connections-per-peer", "10000"],
    ];
    let (_server, url) = reference_server(shared.as_flattened(), &[]).await;
    let (code, report) = hostile(&url, &args).await;
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(findings(&report).collect::<Vec<_>>(), ["P1 HS-30"], "{report}");
}

/// Exactly the rows of the list. None depends on the machine's speed: what is found stays so
/// however long one waits for the server, and what passes is an answer that the server gives at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_the_defaults_of_a_library_withstands_little() {
    let addr = plain::listen().await;
    let args = [
        ["--auth-timeout", "1000"],
        ["--header-timeout", "1000"],
        ["--message-timeout", "1000"],
        ["--close-timeout", "1000"],
        ["--ping-interval", "1000"],
        ["--pong-timeout", "1000"],
        ["--rate", "200"],
        ["--failed-logins", "20"],
        ["--patience", "1500"],
    ];
    let (code, report) = hostile(&url(addr), args.as_flattened()).await;
    assert_eq!(code, Some(1), "{report}");
    let found: Vec<_> = findings(&report).collect();
    let expected: Vec<_> = EXPECTED
        .iter()
        .flat_map(|(severity, rows)| {
            rows.split_whitespace().map(move |row| format!("{severity} {row}"))
        })
        .collect();
    assert_eq!(found, expected, "{report}");
    // There is no cap that a forged address could evade.
    let not_tried: Vec<_> = report.lines().filter(|it| it.starts_with("could not try")).collect();
    assert!(matches!(*not_tried, [line] if line.contains("HS-23")), "{not_tried:?}");
    // A finding says how to see it again, and which test is missing.
    let first = report.split("\n\n").next().unwrap();
    for part in [
        "P0 AU-01 act before authenticating",
        "  sent      48 bytes: 81aa000000007b2274797065223a226a6f696e",
        "  came      \"{\\\"roomId\\\":",
        "  expected  close 4403",
        &format!("  again     hostile ws://{addr}/ws --auth-timeout 1000 "),
        " --patience 1500 --only AU-01\n",
        "  missing   a test that says: a first message that is not credentials ends the connection",
    ] {
        assert!(first.contains(part), "{part}: {first}");
    }
}

/// The rest: with the plain server's, each row has been seen to find something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_library_falls_to_the_rest() {
    let rest =
        "AU-14,DL-04,DL-13,FR-28,FR-32,HS-01,HS-18,HS-19,HS-31,P2-02,P2-07,P2-10,P2-22,RM-19";
    for (cap, rows, with) in [
        (usize::MAX, rest, ["--close-timeout", "500"]),
        (20, "HS-23,HS-30", ["--max-connections-per-peer", "20"]),
        // Nobody gets in a second time.
        (1, "XX-01", ["--max-rooms", "1"]),
    ] {
        let url = url(rogue::listen(cap).await);
        let args = [
            ["--only", rows],
            ["--patience", "1000"],
            ["--http-timeout", "500"],
            ["--other-address", "127.0.0.2"],
            with,
        ];
        let (code, report) = hostile(&url, args.as_flattened()).await;
        assert_eq!(code, Some(1), "{report}");
        let mut found: Vec<_> = findings(&report).map(|it| it[3..].to_owned()).collect();
        found.sort_unstable();
        assert_eq!(found.join(","), rows, "{report}");
    }
    let by_plain = EXPECTED.iter().flat_map(|(_, rows)| rows.split_whitespace());
    let found: BTreeSet<_> =
        by_plain.chain(rest.split(',')).chain(["HS-23", "HS-30", "XX-01"]).collect();
    let rows = rows_that_can_be_tried().await;
    assert_eq!(found, rows.iter().map(|(row, ..)| row.as_str()).collect());
}

#[tokio::test]
async fn another_machine_is_not_attacked_unasked() {
    // Not a loopback address, yet one that leads nowhere else.
    let listener = TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
    let url = format!("ws://0.0.0.0:{}/ws", listener.local_addr().unwrap().port());
    for url in [&url, "ws://192.0.2.1/ws", "ws://localhost.example/ws", "ws://[2001:db8::1]:80/ws"]
    {
        let (code, report) = hostile(url, &[]).await;
        assert_eq!(code, Some(2), "{report}");
        assert!(report.contains("--i-own-this-host"), "{report}");
    }
    let nobody = timeout(Duration::ZERO, listener.accept()).await;
    assert!(nobody.is_err(), "it connected");

    let accept = tokio::spawn(async move { listener.accept().await.unwrap() });
    let (code, report) = hostile(&url, &["--i-own-this-host", "--patience", "10"]).await;
    assert_eq!(code, Some(2), "{report}");
    accept.await.unwrap();
}

#[tokio::test]
async fn where_there_is_nothing_to_attack_it_says_so() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let nobody = url(listener.local_addr().unwrap());
    drop(listener);
    let (code, report) = hostile(&nobody, &[]).await;
    assert_eq!(code, Some(2), "{report}");
    assert!(report.contains("nothing answers"), "{report}");

    let (_server, there) = reference_server(&[], &[]).await;
    let misuses: [(&str, &[&str]); 5] = [
        (&there, &["--token", "wrong"]),
        (&there, &["--only", "HS-99"]),
        (&there, &["--only", "FR-29"]),
        (&there.replace("ws://", "wss://"), &[]),
        // Nothing is known about what was not tried.
        (&there, &["--only", "AU-03", "--row-timeout", "1"]),
    ];
    for (url, args) in misuses {
        let (code, report) = hostile(url, args).await;
        assert_eq!(code, Some(2), "{args:?}: {report}");
    }
}

#[tokio::test]
async fn every_row_of_the_catalogue_is_tried_or_left_out_for_a_reason() {
    let (_, list) = hostile("", &["--list"]).await;
    let tried = rows_that_can_be_tried().await;
    let left_out = list.lines().filter_map(|it| it.strip_prefix("not tried from outside, "));
    let left_out = left_out.filter_map(|it| it.split_once(": ")).flat_map(|(_, it)| it.split(' '));
    let mut rows: Vec<_> = tried.iter().map(|(row, ..)| row.as_str()).chain(left_out).collect();
    rows.sort_unstable();
    let catalogue = read("tests/assurance/catalogue.txt");
    let mut all: Vec<_> = catalogue.lines().filter_map(|it| it.split(' ').next()).collect();
    all.sort_unstable();
    assert_eq!(rows, all);

    // With its severity there, and a test that is named for it.
    let table = read("docs/assurance/attacks.md");
    for (row, severity, test) in tried {
        let line = table.lines().find(|it| it.starts_with(&format!("| {row} | {severity} |")));
        assert!(
            line.is_some_and(|it| it.contains(&format!(": {test}"))),
            "{row} {severity} {test}"
        );
    }
}

/// Severity and row of each, in the order of the report.
fn findings(report: &str) -> impl Iterator<Item = String> {
    let finding = |line: &&str| matches!(line.as_bytes(), [b'P', b'0'..=b'2', b' ', ..]);
    report.lines().filter(finding).map(|it| it.split(' ').take(2).collect::<Vec<_>>().join(" "))
}

/// Row, severity and test.
async fn rows_that_can_be_tried() -> BTreeSet<(String, String, String)> {
    let (code, list) = hostile("", &["--list"]).await;
    assert_eq!(code, Some(0), "{list}");
    let row = |line: &str| {
        let (row, rest) = line.split_once(' ')?;
        let (severity, rest) = rest.split_once(' ')?;
        let (_, test) = rest.strip_suffix(')')?.split_once(" (")?;
        Some((row.to_owned(), severity.to_owned(), test.to_owned()))
    };
    list.lines().filter_map(row).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(in_repository(path)).unwrap()
}

/// What is found in the plain server, in the order of the report.
const EXPECTED: &[(&str, &str)] = &[
    (
        "P0",
        "AU-01 AU-02 AU-03 AU-04 AU-06 AU-09 DL-01 DL-02 FR-01 FR-02 FR-03 HS-04 HS-05 HS-06 MS-01 \
         MS-02 MS-03 MS-05 RM-01 RM-03 RM-04 RM-05",
    ),
    (
        "P1",
        "AU-05 AU-11 AU-13 AU-17 DL-15 DL-16 DL-19 FR-05 FR-10 FR-12 FR-14 FR-16 FR-18 FR-21 FR-25 FR-30 \
         FR-31 FR-33 HS-02 HS-03 HS-10 HS-12 HS-13 HS-14 HS-16 HS-17 HS-20 HS-21 MS-10 MS-11 MS-12 MS-13 \
         MS-14 MS-16 MS-18 MS-19 MS-20 MS-23 RM-10",
    ),
    ("P2", "P2-01 P2-06 P2-12"),
];

/// More than the program gives itself.
const PATIENCE: Duration = Duration::from_secs(200);
