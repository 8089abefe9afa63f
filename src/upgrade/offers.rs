//! Say what a handshake offered that it does not get: other protocols, subprotocols, extensions.
//!
//! A client that asks for `graphql-ws` and is let in without it will not be content, and its operator
//! looks into the log. But people put tokens into subprotocols, as a browser lets a page set no other
//! header. So only names that are well known are told, and the others are counted.

use http::{HeaderMap, HeaderName, header};

use super::subprotocol::Chosen;
use crate::audit::{Connected, Offered};

/// What is offered besides a WebSocket, which it gets.
pub(super) fn read(headers: &HeaderMap, chosen: &Chosen) -> Connected {
    let mut upgrades = offered(headers, &header::UPGRADE, &UPGRADES);
    // The one that is taken, in whatever spelling and however often.
    let taken = list(headers, &header::UPGRADE);
    let taken = taken.filter(|it| it.eq_ignore_ascii_case(b"websocket")).count();
    upgrades.others = upgrades.others.saturating_sub(taken);
    Connected {
        upgrades,
        subprotocols: subprotocols(headers, chosen),
        extensions: offered(headers, &header::SEC_WEBSOCKET_EXTENSIONS, &EXTENSIONS),
    }
}

/// Those of which nothing came: neither the one that is spoken, nor a token.
fn subprotocols(headers: &HeaderMap, chosen: &Chosen) -> Offered {
    let mut offered = offered(headers, &header::SEC_WEBSOCKET_PROTOCOL, &SUBPROTOCOLS);
    let mut others = usize::from(chosen.token.is_some());
    if let Some((spoken, _)) = &chosen.protocol {
        match offered.names.iter().position(|it| *it == &**spoken) {
            Some(known) => _ = offered.names.swap_remove(known),
            None => others += 1,
        }
    }
    offered.others = offered.others.saturating_sub(others);
    offered
}

fn offered(headers: &HeaderMap, name: &HeaderName, known: &[&'static str]) -> Offered {
    let mut offered = Offered::default();
    for element in list(headers, name) {
        match known.iter().find(|it| it.as_bytes() == element) {
            Some(name) if !offered.names.contains(name) => offered.names.push(name),
            Some(_) => {}
            None => offered.others += 1,
        }
    }
    offered
}

/// The elements of the list that all lines of `name` make together, without parameters.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).iter();
    let elements = lines.flat_map(|it| it.as_bytes().split(|byte| *byte == b','));
    let bare = |it: &'a [u8]| it.split(|byte| *byte == b';').next().map(<[u8]>::trim_ascii);
    elements.filter_map(bare).filter(|it| !it.is_empty())
}

const UPGRADES: [&str; 5] = ["h2c", "HTTP/2.0", "TLS/1.0", "TLS/1.2", "TLS/1.3"];

/// Of the registry of IANA, and what widespread libraries ask for.
const SUBPROTOCOLS: [&str; 20] = [
    "actioncable-unsupported",
    "actioncable-v1-json",
    "amqp",
    "base64",
    "binary",
    "graphql-transport-ws",
    "graphql-ws",
    "mqtt",
    "mqttv3.1",
    "ocpp1.6",
    "ocpp2.0.1",
    "sip",
    "soap",
    "v10.stomp",
    "v11.stomp",
    "v12.stomp",
    "vite-hmr",
    "wamp.2.json",
    "wamp.2.msgpack",
    "xmpp",
];

const EXTENSIONS: [&str; 2] = ["permessage-deflate", "x-webkit-deflate-frame"];

#[cfg(test)]
mod tests {
    use super::*;

    // covers: LG-01, LG-15
    #[test]
    fn names_that_are_well_known_are_told_and_others_are_counted() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "h2c, WebSocket"),
            ("upgrade", "websocket, mine"),
            ("sec-websocket-protocol", "graphql-ws, bearer.SECRET,, graphql-ws"),
            ("sec-websocket-protocol", "d41d8cd98f00b204e9800998ecf8427e, GRAPHQL-WS"),
            ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits, x-\"a"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let offers = read(&headers, &Chosen::default());
        let told = [&offers.upgrades, &offers.subprotocols, &offers.extensions];
        assert_eq!(
            told.map(|it| it.names.clone()),
            [["h2c"], ["graphql-ws"], ["permessage-deflate"]]
        );
        assert_eq!(told.map(|it| it.others), [1, 3, 1]);
        assert_eq!(offers.subprotocols.to_string(), "graphql-ws and 3 others");
        assert!(!format!("{offers:?}").contains("SECRET"));
    }
}
