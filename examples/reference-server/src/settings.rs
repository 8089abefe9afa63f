//! Turn options into the settings of the crate, and refuse those that cannot hold together.

use std::{
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use axum::extract::ConnectInfo;
use serde_json::json;
use tower_websocket::{
    Admission, ClientAddrLayer, ConnectionConfig, ConnectionConfigError, Connections, MemoryBudget,
    OriginPolicy, Overflow, Quota, Rooms, TrustedProxies,
    room::{History, RoomsConfig, SlowMember},
    service::ServerMessage,
    upgrade::{InvalidOrigin, InvalidProxies},
};

use crate::{
    local::Local,
    memory,
    options::{Options, SlowMembers},
    tls::{Files, Reload, Tls},
    values::{entries, secret},
};

impl Options {
    /// The token to listen with on `address`.
    ///
    /// # Errors
    ///
    /// Why it must be another.
    pub(crate) fn token(&self, address: IpAddr) -> Result<&str, String> {
        let token = match &self.dev_token {
            Some(token) => secret(token).map_err(|why| format!("--dev-token (DEV_TOKEN) {why}"))?,
            None if self.is_only_for_this_machine(address) => DEFAULT_TOKEN,
            None if address.to_canonical().is_loopback() => {
                return Err(format!(
                    "--dev-token (DEV_TOKEN) must be set behind a proxy (--trusted-proxy): without one it is \
                     {DEFAULT_TOKEN}, which everybody knows"
                ));
            }
            None => {
                return Err(format!(
                    "--dev-token (DEV_TOKEN) must be set to listen on {address}: without one it is \
                     {DEFAULT_TOKEN}, which everybody knows"
                ));
            }
        };
        // With the longest name that `auth` lets in.
        let login = json!({ "type": "auth", "token": format!("{token}:{:32}", "") });
        let (takes, limit) = (login.to_string().len(), self.max_message_bytes.get());
        if takes > limit {
            return Err(format!(
                "--max-message-bytes (MAX_MESSAGE_BYTES): nobody could log in, since a login with \
                 this token takes up to {takes} bytes and {limit} are allowed"
            ));
        }
        Ok(token)
    }

    /// Whether whoever reaches `address` may come in by any name.
    pub(crate) fn lets_in_by_name(&self, address: IpAddr) -> bool {
        // A proxy that nobody has named may be open to all: who has set a token says so.
        let harmless = self.dev_token.is_none() && self.is_only_for_this_machine(address);
        self.login_by_name.unwrap_or(harmless)
    }

    /// Nobody else reaches `address`, as far as is known: not where there are proxies.
    fn is_only_for_this_machine(&self, address: IpAddr) -> bool {
        address.to_canonical().is_loopback() && self.trusted_proxy.is_empty()
    }

    /// Whether nothing but the loopback interface keeps others out.
    pub(crate) fn local(&self) -> Local {
        match self.dev_token {
            Some(_) => Local::everybody(),
            None => Local::only(&self.host().name, !self.allow_host.is_empty()),
        }
    }

    /// Where operators are heard, and by which token.
    ///
    /// # Errors
    ///
    /// Why anybody could be one.
    pub(crate) fn admin(&self) -> Result<Option<(SocketAddr, Option<&str>)>, String> {
        let token = self.admin_token.as_deref().map(secret).transpose();
        let token = token.map_err(|why| format!("--admin-token (ADMIN_TOKEN) {why}"))?;
        if token.is_some_and(|it| it.len() < MIN_ADMIN_TOKEN) {
            return Err(format!(
                "--admin-token (ADMIN_TOKEN) is shorter than {MIN_ADMIN_TOKEN} bytes, and could be guessed"
            ));
        }
        if token.is_some() && token == self.dev_token.as_deref() {
            return Err(
                "--admin-token (ADMIN_TOKEN) is the users' --dev-token (DEV_TOKEN): each of \
                them would be an operator"
                    .to_owned(),
            );
        }
        match (self.admin_addr, token) {
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err("--admin-token (ADMIN_TOKEN) is for --admin-addr (ADMIN_ADDR), \
                which is not set"
                    .to_owned())
            }
            (Some(addr), None) if !addr.ip().to_canonical().is_loopback() => Err(format!(
                "--admin-token (ADMIN_TOKEN) must be set to hear operators on {addr}: anybody could be one"
            )),
            (Some(addr), token) => Ok(Some((addr, token))),
        }
    }

    pub(crate) fn warn_of_defaults(&self) {
        if self.dev_token.as_deref().is_none_or(|it| it == DEFAULT_TOKEN) {
            tracing::warn!(
                "DEV_TOKEN IS THE DEFAULT, WHICH EVERYBODY KNOWS: anyone who reaches this port can \
                 log in under any name. Set DEV_TOKEN before others can reach it."
            );
        }
    }

    /// Who the clients are, behind those proxies.
    pub(crate) fn clients(proxies: Option<TrustedProxies>) -> ClientAddrLayer {
        let layer = ClientAddrLayer::new()
            .peer_from(|it| it.get::<ConnectInfo<SocketAddr>>().map(|it| it.0));
        match proxies {
            Some(proxies) => layer.trusted_proxies(proxies),
            None => layer,
        }
    }

    /// Whose word counts for who the clients are.
    ///
    /// # Errors
    ///
    /// What is no network or no header, with the option's name.
    pub(crate) fn proxies(&self) -> Result<Option<TrustedProxies>, String> {
        if self.trusted_proxy.is_empty() {
            let read_from_nobody = [
                (self.require_tls && self.tls_cert.is_none(), "--require-tls (REQUIRE_TLS)"),
                (self.forwarded_header.is_some(), "--forwarded-header (FORWARDED_HEADER)"),
                (self.proxy_protocol, "--proxy-protocol (PROXY_PROTOCOL)"),
                (self.allow_direct, "--allow-direct (ALLOW_DIRECT)"),
            ];
            return match read_from_nobody.iter().find(|it| it.0) {
                Some((_, option)) => Err(format!(
                    "{option} goes by what proxies say, and none is trusted: --trusted-proxy names their networks"
                )),
                None => Ok(None),
            };
        }
        let header = self.forwarded_header.as_deref().unwrap_or("x-forwarded-for");
        let proxies = TrustedProxies::header(header, entries(&self.trusted_proxy));
        let proxies = proxies.map_err(|error| match error {
            InvalidProxies::Header(_) => format!("--forwarded-header (FORWARDED_HEADER): {error}"),
            _ => format!("--trusted-proxy (TRUSTED_PROXY): {error}"),
        })?;
        Ok(Some(if self.allow_direct { proxies.allow_direct() } else { proxies }))
    }

    /// What TLS is spoken with, if it is.
    ///
    /// # Errors
    ///
    /// What cannot be used, with the option's name.
    pub(crate) fn tls(&self) -> Result<Option<(Tls, Reload)>, String> {
        match (&self.tls_cert, &self.tls_key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                let files = Files { certificate: certificate.clone(), key: key.clone() };
                files.load().map(Some)
            }
            (Some(_), None) => Err("--tls-key (TLS_KEY) is missing beside --tls-cert".to_owned()),
            (None, Some(_)) => Err("--tls-cert (TLS_CERT) is missing beside --tls-key".to_owned()),
        }
    }

    /// # Errors
    ///
    /// What could never match, with the option's name.
    pub(crate) fn origin(&self) -> Result<OriginPolicy, String> {
        let named = |option: &'static str| move |error: InvalidOrigin| format!("{option}: {error}");
        let policy = OriginPolicy::new();
        let policy = if self.require_tls { policy.require_tls() } else { policy };
        let policy = entries(&self.allow_origin)
            .try_fold(policy, OriginPolicy::trust)
            .map_err(named("--allow-origin (ALLOW_ORIGIN)"))?;
        if !self.allow_host.is_empty() && entries(&self.allow_host).next().is_none() {
            // A script whose variable is not set, and any host would be let in.
            return Err("--allow-host (ALLOW_HOST) names no host: leave it out to go by any".into());
        }
        entries(&self.allow_host)
            .try_fold(policy, OriginPolicy::allow_host)
            .map_err(named("--allow-host (ALLOW_HOST)"))
    }

    pub(crate) fn admission(&self) -> Admission {
        let mut admission = Admission::new()
            .max_connections(self.max_connections)
            .max_unauthenticated(self.max_unauthenticated)
            .handshakes(quota(self.handshake_rate, self.handshake_rate));
        let failed = Quota::per_minute(self.failed_login_rate.get());
        let failed = failed.burst(self.failed_login_burst.get());
        // What is the default anyway holds only where addresses are known.
        if failed != FAILED_LOGINS {
            admission = admission.failed_logins_per_peer(failed);
        }
        // What is not set is a share of what is.
        if let Some(each) = self.max_connections_per_peer {
            admission = admission.max_connections_per_peer(each);
        }
        if let Some(rate) = self.handshake_rate_per_peer {
            admission = admission.handshakes_per_peer(quota(rate, rate.max(HANDSHAKES_AT_ONCE)));
        }
        admission
    }

    pub(crate) fn connections(&self) -> Connections {
        Connections::new().max_per_user(self.max_connections_per_user, Overflow::CloseOldest)
    }

    /// Who lets more connections of an address in means that they may be in as many more rooms.
    pub(crate) fn rooms(&self) -> Rooms<ServerMessage> {
        let quota = quota(self.publish_rate, self.publish_burst);
        let slow_members = match self.slow_members {
            SlowMembers::Close => SlowMember::Close,
            SlowMembers::Skip => SlowMember::Skip,
        };
        let config =
            RoomsConfig::new().publish_quota(quota).history(HISTORY).slow_members(slow_members);
        Rooms::with(match self.max_connections_per_peer {
            Some(each) => config.max_memberships_per_address(each.saturating_mul(ROOMS_EACH)),
            None => config,
        })
    }

    pub(crate) fn connection(&self) -> ConnectionConfig {
        let config = ConnectionConfig::new()
            .auth_timeout(self.auth_timeout_ms)
            .ping_interval(self.heartbeat_interval_ms)
            .pong_timeout(self.pong_timeout_ms)
            .max_message_size(self.max_message_bytes);
        match self.max_outbound_bytes {
            Some(bytes) => config.max_outbound_bytes(bytes),
            None => config,
        }
    }

    pub(crate) fn memory_budget(&self) -> Option<MemoryBudget> {
        let set = self.memory_budget_mb.map(|mib| mib.saturating_mul(1024 * 1024));
        let bytes = NonZeroUsize::new(set.unwrap_or_else(memory::quarter));
        tracing::info!(bytes, "memory budget");
        bytes.map(MemoryBudget::new)
    }

    /// What a connection may send before anything of it is read: as much as the quotas behind let
    /// through, that is a login, the joins of all its rooms, and the burst of messages.
    pub(crate) fn raw_quota(&self, rooms: NonZeroUsize) -> Quota {
        let rooms = u32::try_from(rooms.get()).unwrap_or(u32::MAX);
        quota(self.message_rate, self.message_burst.saturating_add(rooms).saturating_add(1))
    }

    /// What a connection may send, but for its joins.
    pub(crate) fn message_quota(&self) -> Quota {
        quota(self.message_rate, self.message_burst)
    }

    /// What a user may send on all connections together, but for joins.
    pub(crate) fn user_quota(&self) -> Quota {
        let twice = |it: NonZeroU32| it.saturating_add(it.get());
        quota(
            self.user_rate.unwrap_or_else(|| twice(self.message_rate)),
            self.user_burst.unwrap_or_else(|| twice(self.message_burst)),
        )
    }
}

/// Says which option is to be changed, to an operator who knows nothing of the library's names.
pub(crate) fn name_the_option(error: &ConnectionConfigError) -> String {
    let option = match error.setting() {
        "auth_timeout" => "--auth-timeout-ms (AUTH_TIMEOUT_MS)",
        "ping_interval" => "--heartbeat-interval-ms (HEARTBEAT_INTERVAL_MS)",
        "pong_timeout" => "--pong-timeout-ms (PONG_TIMEOUT_MS)",
        "max_outbound_bytes" => "--max-outbound-bytes (MAX_OUTBOUND_BYTES)",
        _ => return error.to_string(),
    };
    format!("{option}: {error}")
}

fn quota(rate: NonZeroU32, burst: NonZeroU32) -> Quota {
    Quota::per_second(rate.get()).burst(burst.get())
}

/// Five thousand for 256 connections, as the library has it.
const ROOMS_EACH: NonZeroUsize = NonZeroUsize::new(20).unwrap();

const FAILED_LOGINS: Quota = Quota::per_minute(10).burst(20);

const DEFAULT_TOKEN: &str = "dev-token";

/// 256 bits, as hexadecimal digits in half of them.
const MIN_ADMIN_TOKEN: usize = 32;

/// As many as one address may have connections, so that all behind it are back after a restart.
const HANDSHAKES_AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(255);

/// What a phone needs that changes its network, or somebody whose train goes through a tunnel.
const HISTORY: History = History::new(NonZeroUsize::new(100).unwrap(), Duration::from_secs(120));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anybody_is_let_in_by_name_on_the_loopback_interface_or_where_it_is_asked_for() {
        let [here, everywhere] = ["::ffff:127.0.0.1", "0.0.0.0"].map(|it| it.parse().unwrap());
        for (args, expected) in [
            (&[][..], [true, false]),
            (&["--dev-token", "secret"], [false, false]),
            (&["--login-by-name", "false"], [false, false]),
            (&["--login-by-name", "true"], [true, true]),
        ] {
            let options = Options::of(args).unwrap();
            assert_eq!([here, everywhere].map(|it| options.lets_in_by_name(it)), expected);
        }
    }
}
