use tokio_tungstenite::tungstenite::protocol::frame::{
    Frame, FrameHeader,
    coding::{Data, OpCode},
};

use super::*;

fn whole(message: &Message) -> Vec<u8> {
    [Header::of(message).as_bytes(), message.as_bytes()].concat()
}

#[test]
fn a_frame_is_what_the_engine_would_have_written_at_every_edge_of_its_length() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
        for text in [true, false] {
            let payload = vec![b'x'; len];
            let (message, opcode) = if text {
                (Message::text("x".repeat(len)), OpCode::Data(Data::Text))
            } else {
                (Message::binary(payload.clone()), OpCode::Data(Data::Binary))
            };
            let mut expected = Vec::new();
            let header = FrameHeader { opcode, ..FrameHeader::default() };
            Frame::from_payload(header, payload.into()).format(&mut expected).unwrap();
            assert!(whole(&message) == expected, "{len} bytes, text: {text}");
            assert_eq!(frame_len(len), expected.len());
        }
    }
}

#[test]
fn every_byte_of_a_frame_leads_to_its_end() {
    let sizes = [0, 7, 125, 126, 300, 0, 65_535, 65_536, 3];
    let frames = sizes.map(|size| whole(&Message::binary(vec![0; size])));
    let all = frames.concat();
    let mut end = 0;
    for (count, frame) in (1..).zip(&frames) {
        let begin = end;
        end += frame.len();
        for written in [begin + 1, begin + 2, end - 1, end] {
            assert_eq!(begun(&all, written), (end, count));
        }
    }
    assert_eq!(begun(&all, 0), (0, 0));
    assert_eq!(begun(&all, all.len() + 1), (all.len(), 9), "behind the last there is none");
}
