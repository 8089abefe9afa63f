//! Name the session of a browser, so that a log-out in one of its tabs ends all of them.
//!
//! The name is a random number, in a cookie that no script can read. Nothing is kept of a session but that it
//! has ended: so it outlives a restart of the server, and says nothing of who its user is. A real server keeps
//! its users' sessions where this only counts them out.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::{HeaderMap, header};

/// The name of a session.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(crate) struct SessionId(String);

/// Those that have ended. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Ended(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    all: HashSet<SessionId>,
    /// The oldest first.
    order: VecDeque<SessionId>,
}

impl SessionId {
    /// A new one; `None` if the system has no randomness.
    pub(crate) fn random() -> Option<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).ok()?;
        Some(Self(format!("{:032x}", u128::from_be_bytes(bytes))))
    }

    /// The one that a browser has shown.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|it| it.to_str().ok());
        let mut cookies = lines.flat_map(|it| it.split(';'));
        let id = cookies.find_map(|it| it.trim().strip_prefix(NAME)?.strip_prefix('='))?;
        let is_digit = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
        (id.len() == 32 && id.bytes().all(is_digit)).then(|| Self(id.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What has a browser show it again, to this server alone.
    pub(crate) fn cookie(&self, over_tls: bool) -> String {
        set_cookie(&self.0, "", over_tls)
    }
}

/// What has a browser forget its session.
pub(crate) fn no_cookie(over_tls: bool) -> String {
    set_cookie("", "; Max-Age=0", over_tls)
}

fn set_cookie(value: &str, age: &str, over_tls: bool) -> String {
    let secure = if over_tls { "; Secure" } else { "" };
    format!("{NAME}={value}; Path=/; HttpOnly; SameSite=Strict{age}{secure}")
}

impl Ended {
    pub(crate) fn note(&self, id: SessionId) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.all.insert(id.clone()) {
            return;
        }
        inner.order.push_back(id);
        if inner.order.len() > MAX_ENDED
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.all.remove(&oldest);
        }
    }

    pub(crate) fn has(&self, id: &SessionId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all.contains(id)
    }
}

const NAME: &str = "chat_session";

/// A megabyte. A browser that was told has forgotten its session by then; this is for what it had sent before.
const MAX_ENDED: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(cookies: &[&str]) -> Option<SessionId> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, cookie.parse().unwrap());
        }
        SessionId::of(&headers)
    }

    #[test]
    fn a_session_is_found_among_other_cookies_and_nothing_else_is_one() {
        let id = SessionId::random().unwrap();
        let cookie = format!("{NAME}={}", id.as_str());
        assert!(id.cookie(true).starts_with(&format!("{cookie}; Path=/; HttpOnly")));
        for cookies in
            [&[&*cookie][..], &["a=b", &format!("c=d; {cookie}")], &[&format!("{cookie};x")]]
        {
            assert!(shown(cookies) == Some(id.clone()), "{cookies:?}");
        }
        for cookie in [
            "",
            "chat_session=",
            "chat_session",
            // Another server's of the same host.
            &cookie["chat_".len()..],
            &cookie[..cookie.len() - 1],
            &format!("x{cookie}"),
            &format!("{cookie}0"),
            &format!("{}A", &cookie[..cookie.len() - 1]),
        ] {
            assert!(shown(&[cookie]).is_none(), "{cookie}");
        }
    }

    #[test]
    fn those_that_have_ended_are_remembered_up_to_a_bound() {
        let ended = Ended::default();
        let of = |n: usize| SessionId(format!("{n:032x}"));
        for n in 0..MAX_ENDED + 10 {
            ended.note(of(n));
            ended.note(of(n));
        }
        assert!(!ended.has(&of(9)) && ended.has(&of(10)) && ended.has(&of(MAX_ENDED + 9)));
        let inner = ended.0.lock().unwrap();
        assert_eq!((inner.all.len(), inner.order.len()), (MAX_ENDED, MAX_ENDED));
    }
}
