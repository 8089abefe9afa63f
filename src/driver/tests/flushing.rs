//! What was accepted for a peer goes out before it is closed.

use std::future::ready;

use tower::service_fn;

use super::{
    ending::{assert_refused, stuck_with_a_queue},
    support::{Served, quiet, text},
};
use crate::{
    close::{Close, Retry},
    driver::Authentication,
    layers::{Anonymous, Failure, Inbound, Reply},
    message::Message,
};

type Answer = Result<Reply<Message>, Failure<Message>>;

// covers: DL-26
#[tokio::test(start_paused = true)]
async fn what_was_accepted_before_the_application_closes_goes_out_before_the_close() {
    let kicked = Close::application(4100, "kicked", Retry::Stop).unwrap();
    for close in [Close::FORBIDDEN, Close::OVERLOADED, kicked] {
        let (mut served, alive) = stuck_with_a_queue().await;
        served.connection.close(close.clone());
        served.settle().await;
        // Call and stack are gone at once, and nothing more is taken.
        assert_eq!(alive.left(), 100, "{close}");
        assert_refused(&served);
        served.wait(4000).await;
        served.peer.room(None);
        served.settle().await;
        assert_eq!(served.peer.close_code(), close.reason().code().map(u16::from));
        assert_eq!(served.peer.frames().len(), 1 + 100, "{close}");
        assert_eq!(alive.left(), 0);
    }
}

// covers: DL-04, DL-26
#[tokio::test(start_paused = true)]
async fn what_goes_out_before_a_close_has_the_close_timeout_and_no_more() {
    let (mut served, alive) = stuck_with_a_queue().await;
    served.connection.close(Close::FORBIDDEN);
    served.wait(4999).await;
    assert_eq!(alive.left(), 100);
    served.wait(1).await;
    assert_eq!(alive.left(), 0, "the queue is dropped, the close frame is next");
    served.wait(5000).await;
    assert!(served.done);
    assert_eq!((served.records.closed().rule, served.budget.used()), ("forbidden", 0));
}

// covers: DL-26
#[tokio::test(start_paused = true)]
async fn answers_to_what_was_accepted_go_out_before_a_close_by_the_stack() {
    let mut count = 0;
    let stack = service_fn(move |inbound: Inbound<Message, Anonymous>| {
        count += 1;
        ready(match count {
            ..=3 => Answer::Ok(Reply::one(inbound.message)),
            _ => Answer::Err(Failure::Close(Close::RATE_LIMITED)),
        })
    });
    let mut served = Served::new(quiet(), stack);
    served.peer.room(0);
    served.send(text("a").repeat(10)).await;
    served.wait(1000).await;
    served.peer.room(None);
    served.settle().await;
    assert_eq!(served.peer.texts(), ["a", "a", "a"]);
    assert_eq!(served.peer.close_code(), Some(1008));
    assert_eq!(served.peer.unread(), 0, "the rest is read, and thrown away");
}

// covers: DL-26, AU-10
#[tokio::test(start_paused = true)]
async fn what_was_pushed_before_a_time_is_over_goes_out_before_the_close() {
    let answer = |_: Inbound<Message, Anonymous>| ready(Answer::Ok(Reply::none()));
    let mut served = Served::with(quiet(), Authentication::Required, service_fn(answer));
    served.peer.room(0);
    served.connection.push(Message::text("log in, please")).unwrap();
    served.wait(5000).await;
    assert_refused(&served);
    served.peer.room(None);
    served.settle().await;
    assert_eq!(served.peer.texts(), ["log in, please"]);
    assert_eq!(served.peer.close_code(), Some(4401));
}

// covers: DL-26
#[tokio::test(start_paused = true)]
async fn a_peer_that_breaks_while_the_queue_goes_out_ends_it() {
    let (mut served, alive) = stuck_with_a_queue().await;
    served.connection.close(Close::FORBIDDEN);
    served.settle().await;
    served.peer.break_down();
    served.settle().await;
    assert!(served.done);
    assert_eq!(alive.left(), 0);
    assert_eq!(served.records.closed().rule, "forbidden");
}
