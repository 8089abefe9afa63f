//! Rooms and the connections in them against a plain model.

use proptest::{collection::vec, prelude::*};

use crate::testing::driven::rooms::{LIVE, Operation, PEERS, ROOMS, Run, Saying, Verdict};

fn operation() -> impl Strategy<Value = Operation> {
    let peer = || 0..PEERS.len();
    // Much in one room, so that queues fill up.
    let room = || prop_oneof![6 => Just(0), 4 => Just(LIVE), 2 => 0..ROOMS.len()];
    let size = || prop_oneof![1 => 0usize..765, 1 => Just(764)];
    let verdict =
        prop_oneof![4 => Just(Verdict::Yes), 1 => Just(Verdict::No), 1 => Just(Verdict::Panics)];
    let saying = prop_oneof![
        8 => room().prop_map(Saying::Join),
        1 => room().prop_map(Saying::Leave),
        20 => (room(), size()).prop_map(|(room, size)| Saying::Chat(room, size)),
        1 => Just(Saying::Bye),
    ];
    prop_oneof![
        24 => (peer(), saying).prop_map(|(peer, saying)| Operation::Say(peer, saying)),
        4 => (peer(), verdict).prop_map(|(peer, verdict)| Operation::Decide(peer, verdict)),
        8 => (peer(), room(), size())
            .prop_map(|(peer, room, size)| Operation::Announce(peer, room, size)),
        1 => (peer(), room()).prop_map(|(peer, room)| Operation::Remove(peer, room)),
        1 => peer().prop_map(Operation::Close),
        1 => peer().prop_map(Operation::Cut),
        3 => (peer(), 0usize..1000).prop_map(|(peer, room)| Operation::Slow(peer, room)),
        1 => peer().prop_map(Operation::Fast),
        2 => peer().prop_map(Operation::Return),
        1 => (0u64..150).prop_map(Operation::Late),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    // holds: I9, I2, I7, I8
    // covers: RM-01, RM-06, RM-10, RM-12, DL-03
    #[test]
    fn no_message_leaves_a_room_except_to_its_members(operations in vec(operation(), 0..150)) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            // Who is in no room and speaks is closed, and there would be nobody left.
            for at in 0..PEERS.len() {
                run.apply(&Operation::Say(at, Saying::Join(0))).await;
                run.apply(&Operation::Say(at, Saying::Join(LIVE))).await;
            }
            for operation in &operations {
                run.apply(operation).await;
            }
            run.finish().await;
        });
    }
}
