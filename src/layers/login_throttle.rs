//! Stop a peer that guesses at one account, wherever else it is let in.

use std::{fmt, future::Future, iter};

use crate::{
    connection::Connection,
    layers::{AuthFailure, Authenticate, Session},
    message::Message,
    quota::{self, Failure, Failures, Network, Quota, RateKeyValue, clock},
};

/// Which account credentials claim to be of.
type ClaimedAccount = dyn Fn(&Message) -> Option<String> + Send + Sync;

/// An [`Authenticate`] around another, which is asked only as long as not too many logins to the same
/// account failed.
///
/// The endpoint counts failed logins by address already
/// ([`Admission::failed_logins_per_peer`](crate::Admission::failed_logins_per_peer)). This counts them
/// by account *and* address, for the many who share one. Only the last four distinct credentials of each
/// are told apart, so that a page that tries one stale password again and again locks no user out; a login
/// that succeeds clears nothing, or an attacker would put one of his own in between.
///
/// | | default | why |
/// |---|---|---|
/// | [`quota`](Self::quota) | 10 a minute, 10 at once | 14,400 guesses a day; no person types wrongly faster. An IPv6 /56 has it twice, a /48 four times |
/// | [`whole_accounts`](Self::whole_accounts) | off | ten times the quota, for all addresses together |
///
/// A peer that is over it is closed with 1013 `too many failed logins`, and the verifier is not asked, whether there is
/// such an account or not.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_websocket::{AuthFailure, Authenticate, Connection, LoginThrottle, Message};
/// use tower_websocket::{RequireAuthLayer, Session};
///
/// #[derive(Deserialize)]
/// struct Login {
///     name: String,
///     password: String,
/// }
///
/// struct Passwords;
///
/// impl Authenticate for Passwords {
///     type User = String;
///
///     async fn authenticate(
///         &self,
///         credentials: &Message,
///         _: &Connection,
///     ) -> Result<Session<String>, AuthFailure> {
///         let login = login(credentials).ok_or(AuthFailure::Required)?;
///         if verify(&login.name, &login.password).await {
///             Ok(Session::new(login.name))
///         } else {
///             Err(AuthFailure::Rejected)
///         }
///     }
/// }
///
/// fn login(credentials: &Message) -> Option<Login> {
///     serde_json::from_str(credentials.as_text()?).ok()
/// }
/// # async fn verify(_: &str, _: &str) -> bool { false }
///
/// let door = LoginThrottle::new(Passwords, |credentials| login(credentials).map(|it| it.name));
/// let layer = RequireAuthLayer::new(door);
/// # let _ = layer;
/// ```
#[must_use]
pub struct LoginThrottle<A> {
    inner: A,
    account: Box<ClaimedAccount>,
    quota: Quota,
    each: Failures<RateKeyValue>,
    whole: Option<Failures<RateKeyValue>>,
}

impl<A: Authenticate> LoginThrottle<A> {
    /// Asks `authenticator`, within the default quota for the account that `account` finds in the
    /// credentials; credentials that claim none go to the authenticator as they are.
    ///
    /// `account` has to spell an account in one way: if `Ada` may log in as `ada`, it says `ada`. Of a
    /// name the first 128 bytes count. It is hashed, and neither kept nor recorded.
    pub fn new(
        authenticator: A,
        account: impl Fn(&Message) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let each = Failures::new(QUOTA, quota::FAILURES);
        Self { inner: authenticator, account: Box::new(account), quota: QUOTA, each, whole: None }
    }

    /// Failed logins of one account from one address. The default is 10 a minute, and as many at once.
    pub fn quota(self, quota: Quota) -> Self {
        let table = |_| Failures::new(quota, quota::FAILURES);
        Self { quota, each: table(()), whole: self.whole.map(|_| table(())), ..self }
    }

    /// Counts those of an account from all addresses together, too: ten times the quota. Default: off.
    ///
    /// # Security
    ///
    /// An attacker who knows a name can then keep its owner out, by failing from enough addresses.
    pub fn whole_accounts(self) -> Self {
        Self { whole: Some(Failures::new(self.quota, quota::FAILURES)), ..self }
    }
}

impl<A: Authenticate> Authenticate for LoginThrottle<A> {
    type User = A::User;

    fn authenticate(
        &self,
        credentials: &Message,
        connection: &Connection,
    ) -> impl Future<Output = Result<Session<A::User>, AuthFailure>> + Send {
        let account = (self.account)(credentials).map(|it| hashed(&it));
        let tried = Failure::Tried(RateKeyValue::of(credentials.as_bytes()));
        async move {
            let Some(account) = account else {
                return self.inner.authenticate(credentials, connection).await;
            };
            let networks: Vec<_> = match connection.client_ip() {
                Some(ip) => Network::of(ip).map(|(it, multiple)| (Some(it), multiple)).collect(),
                // Everybody is one address then.
                None => vec![(None, WHOLE)],
            };
            let each =
                networks.iter().map(|(it, multiple)| (RateKeyValue::of((account, it)), *multiple));
            let whole = || iter::once((account, WHOLE));
            let over = |table: &Failures<_>| table.enter(whole(), clock::now()).is_some();
            if self.each.enter(each.clone(), clock::now()).is_some()
                || self.whole.as_ref().is_some_and(over)
            {
                return Err(AuthFailure::Throttled);
            }
            let session = self.inner.authenticate(credentials, connection).await;
            if session.as_ref().is_err_and(|it| it.is_a_guess()) {
                self.each.count(each, tried, clock::now());
                if let Some(table) = &self.whole {
                    table.count(whole(), tried, clock::now());
                }
            }
            session
        }
    }
}

fn hashed(account: &str) -> RateKeyValue {
    let bytes = account.as_bytes();
    RateKeyValue::of(bytes.get(..MAX_NAME).unwrap_or(bytes))
}

impl<A> fmt::Debug for LoginThrottle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginThrottle").field("quota", &self.quota).finish_non_exhaustive()
    }
}

/// No person types wrongly more often, and no attacker guesses anything in as many.
const QUOTA: Quota = Quota::per_minute(10);

/// How many times the quota an account has that is tried from everywhere.
const WHOLE: u32 = 10;

/// Bytes of a claimed name that tell it from others.
const MAX_NAME: usize = 128;
