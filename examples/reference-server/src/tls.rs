//! Speak TLS with a certificate that can be replaced while sockets are open.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    net::TcpStream,
    signal::unix::Signal,
    sync::watch,
    time::{Instant, sleep},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::validity;

/// Where certificate and key are.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// What new sockets get. Those that are open keep what they had.
#[derive(Clone)]
pub(crate) struct Tls(watch::Receiver<Current>);

/// Puts other files in its place.
pub(crate) struct Reload {
    files: Files,
    /// What was looked at last, whether it could be used or not. The key itself is not kept.
    seen: u64,
    hasher: RandomState,
    current: watch::Sender<Current>,
    warned: Option<Instant>,
}

#[derive(Clone)]
struct Current {
    config: Arc<ServerConfig>,
    ends: Option<SystemTime>,
}

#[derive(Hash)]
struct Read {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    /// # Errors
    ///
    /// Which of them cannot be used, and why.
    pub(crate) fn load(self) -> Result<(Tls, Reload), String> {
        let read = self.read()?;
        let current = self.parse(&read)?;
        let (sender, receiver) = watch::channel(current);
        let hasher = RandomState::new();
        let seen = hasher.hash_one(&read);
        let mut reload = Reload { files: self, seen, hasher, current: sender, warned: None };
        reload.say();
        Ok((Tls(receiver), reload))
    }

    fn read(&self) -> Result<Read, String> {
        let read = |option, path: &Path| {
            fs::read(path).map_err(|error| format!("{option}: {}: {error}", path.display()))
        };
        Ok(Read { certificate: read(CERT, &self.certificate)?, key: read(KEY, &self.key)? })
    }

    fn parse(&self, read: &Read) -> Result<Current, String> {
        let named = |option, path: &Path, why: &str| format!("{option}: {}: {why}", path.display());
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&read.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| named(CERT, &self.certificate, &error.to_string()))?;
        let Some(leaf) = chain.first() else {
            return Err(named(CERT, &self.certificate, "there is no certificate in it, as PEM"));
        };
        let ends = validity::not_after(leaf);
        // What is wrong with a key is said without any of it.
        let key = PrivateKeyDer::from_pem_slice(&read.key)
            .map_err(|_| named(KEY, &self.key, "there is no private key in it, as PEM"))?;
        // The provider by name: a default that some other crate sets, or does not, is a panic.
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_no_client_auth()
                .with_single_cert(chain, key)
                .map_err(|error| format!("{CERT} and {KEY}: {error}"))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Current { config: Arc::new(config), ends })
    }
}

impl Tls {
    /// Shakes hands, for as long as the peer takes: whoever calls has to have a time for it.
    ///
    /// # Errors
    ///
    /// What the peer has done wrong.
    pub(crate) async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.0.borrow().config);
        let bounded = |session: &mut rustls::ServerConnection| {
            session.set_buffer_limit(Some(MAX_BUFFER));
        };
        TlsAcceptor::from(config).accept_with(socket, bounded).await
    }

    /// Seconds until the certificate ends; 0 if it has.
    pub(crate) fn seconds_left(&self) -> Option<u64> {
        Some(self.0.borrow().seconds_left()?.as_secs())
    }
}

impl Current {
    fn seconds_left(&self) -> Option<Duration> {
        Some(self.ends?.duration_since(SystemTime::now()).unwrap_or_default())
    }
}

impl Reload {
    /// Looks at the files once a minute, since that is how orchestrators replace them, and on each SIGHUP.
    pub(crate) async fn forever(mut self, mut hangup: Signal) {
        loop {
            let asked = tokio::select! {
                asked = hangup.recv() => asked.is_some(),
                () = sleep(EVERY) => false,
            };
            // Two small files of this machine, once a minute.
            self = match tokio::task::spawn_blocking(move || self.look(asked)).await {
                Ok(it) => it,
                Err(_) => return,
            };
        }
    }

    /// What is no pair that can be used changes nothing.
    fn look(mut self, asked: bool) -> Self {
        let read = self.files.read();
        if !asked && read.as_ref().is_ok_and(|it| self.hasher.hash_one(it) == self.seen) {
            self.warn_of_the_end();
            return self;
        }
        let parsed = read.and_then(|read| {
            self.seen = self.hasher.hash_one(&read);
            self.files.parse(&read)
        });
        match parsed {
            Ok(current) => {
                self.current.send_replace(current);
                self.say();
            }
            Err(error) => {
                let rule = "tls.reload_failed";
                tracing::warn!(rule, error, "the certificate stays what it was");
            }
        }
        self
    }

    fn say(&mut self) {
        let left = self.current.borrow().seconds_left();
        tracing::info!(days_left = left.map(|it| it.as_secs() / DAY.as_secs()), "certificate");
        self.warn_if_near();
    }

    /// Once a day.
    fn warn_of_the_end(&mut self) {
        if self.warned.is_none_or(|at| at.elapsed() >= DAY) {
            self.warn_if_near();
        }
    }

    fn warn_if_near(&mut self) {
        self.warned = Some(Instant::now());
        match self.current.borrow().seconds_left() {
            Some(Duration::ZERO) => tracing::warn!("THE CERTIFICATE HAS EXPIRED"),
            Some(left) if left < NEAR => {
                tracing::warn!(hours_left = left.as_secs() / 3600, "the certificate ends soon");
            }
            _ => {}
        }
    }
}

const CERT: &str = "--tls-cert (TLS_CERT)";
const KEY: &str = "--tls-key (TLS_KEY)";

const EVERY: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Half of the time in which those are renewed that are good for 90 days.
const NEAR: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Bytes that a session holds of what it is to write: one record. Otherwise it is 64 KiB, behind everything
/// that the connection itself counts.
const MAX_BUFFER: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Mutex, PoisonError},
        time::UNIX_EPOCH,
    };

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use tokio::signal::unix::{SignalKind, signal};

    use super::*;

    /// In files of the test's own: a pair that is good for so long.
    struct Pair(Files);

    impl Pair {
        fn new(name: &str, good_for: Duration) -> Self {
            let name = format!("tower-websocket-{}-{name}", std::process::id());
            let at = |end: &str| std::env::temp_dir().join(format!("{name}.{end}"));
            let files = Files { certificate: at("pem"), key: at("key") };
            replace(&files, good_for);
            Self(files)
        }
    }

    impl Drop for Pair {
        fn drop(&mut self) {
            for file in [&self.0.certificate, &self.0.key] {
                let _ = fs::remove_file(file);
            }
        }
    }

    fn replace(files: &Files, good_for: Duration) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(1970, 1, 1) + now + good_for;
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        fs::write(&files.certificate, made.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_pair_that_is_replaced_is_found_within_a_minute_by_itself() {
        let pair = Pair::new("polled", 60 * DAY);
        let files = &pair.0;
        let (mut tls, reload) = files.clone().load().unwrap();
        let days = |tls: &Tls| tls.seconds_left().unwrap().div_ceil(DAY.as_secs());
        assert_eq!(days(&tls), 60);
        // Nobody sends it.
        let hangup = signal(SignalKind::user_defined2()).unwrap();
        let polling = tokio::spawn(reload.forever(hangup));
        // Files that are what they were are nothing new, and a pair that does not fit is none.
        sleep(3 * EVERY).await;
        fs::write(&files.key, "no key").unwrap();
        sleep(3 * EVERY).await;
        assert!(!tls.0.has_changed().unwrap());

        replace(files, 90 * DAY);
        let began = Instant::now();
        tls.0.changed().await.unwrap();
        assert!(began.elapsed() <= EVERY, "{:?}", began.elapsed());
        assert_eq!(days(&tls), 90);
        polling.abort();
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a server has warned of that looks at a certificate for three days, each minute.
    async fn warnings(name: &str, good_for: Duration) -> [usize; 3] {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let pair = Pair::new(name, good_for);
        let (_tls, mut reload) = pair.0.clone().load().unwrap();
        for _ in 0..3 * 24 * 60 {
            tokio::time::advance(EVERY).await;
            reload = reload.look(false);
        }
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        ["days_left", "the certificate ends soon", "THE CERTIFICATE HAS EXPIRED"]
            .map(|it| text.matches(it).count())
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_that_ends_soon_is_warned_of_once_a_day() {
        assert_eq!(warnings("fresh", 15 * DAY).await, [1, 0, 0]);
        assert_eq!(warnings("near", 13 * DAY).await, [1, 4, 0]);
        assert_eq!(warnings("ended", Duration::ZERO).await, [1, 0, 4]);
    }
}
