//! Go by what the layers in front of the endpoint know of a peer, or not, and never by half.
//!
//! Who reads identities, who puts them there and who goes by them are three places in the application's
//! code. Where they do not fit together no peer is let in, and the operator is told what does not fit.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{origin::OriginPolicy, rejection::UpgradeRejectionKind};
use crate::{
    layers::{
        HandshakeIdentity,
        opening::{NotIdentified, Opening},
    },
    message::Message,
    principal::Principal,
};

/// Whether an endpoint goes by identities from handshakes, and of what users.
#[derive(Clone, Default)]
pub(crate) struct IdentityPolicy {
    is_of: Option<fn(&HandshakeIdentity) -> bool>,
    /// Any page may connect, and bring the cookies of its reader.
    any_page: bool,
    known: Arc<Known>,
}

/// What has turned out, for all connections of an endpoint.
#[derive(Default)]
struct Known {
    /// The layers let in no peer without an identity.
    required: AtomicBool,
    /// The operator was told what is wrong.
    told: AtomicBool,
}

impl IdentityPolicy {
    /// Goes by those that are of a `U`.
    pub(super) fn of<U: Principal>() -> Self {
        Self { is_of: Some(HandshakeIdentity::is_of::<U>), ..Self::default() }
    }

    /// Takes note of whose pages may connect.
    pub(super) fn check(&mut self, origin: &OriginPolicy) {
        self.any_page = self.is_of.is_some() && origin.any_page().is_some();
    }

    /// The identity that counts, of what a handshake brought.
    pub(super) fn read(
        &self,
        brought: Option<HandshakeIdentity>,
    ) -> Result<Option<HandshakeIdentity>, UpgradeRejectionKind> {
        let Some(is_of) = self.is_of else {
            // Not asked for: as if it were not there.
            return Ok(None);
        };
        if self.any_page {
            return Err(self.misfit(
                "the endpoint goes by identities from handshakes, and its origin policy trusts any page",
            ));
        }
        match brought {
            Some(identity) if !is_of(&identity) => Err(self.other_type()),
            brought => Ok(brought),
        }
    }

    /// Looks before anything is made for a connection: it may be known that there will be none.
    pub(super) fn expect(&self, identified: bool) -> Result<(), UpgradeRejectionKind> {
        if !identified && self.known.required.load(Ordering::Relaxed) {
            return Err(UpgradeRejectionKind::IdentityMissing);
        }
        Ok(())
    }

    /// Looks at what the layers made of it.
    pub(super) fn judge(
        &self,
        identity: Option<&HandshakeIdentity>,
        token: Option<&Message>,
        opening: &Opening,
    ) -> Result<(), UpgradeRejectionKind> {
        if token.is_some() && !opening.authenticates {
            return Err(self.misfit(
                "a handshake had a token for a subprotocol, and no layer of the stack is a \
                 RequireAuthLayer: the application would get it for a message",
            ));
        }
        if opening.asked && self.is_of.is_none() {
            return Err(self.misfit(
                "a RequireAuthLayer goes by identities from handshakes, and the endpoint does not \
                 read them: call handshake_identity",
            ));
        }
        if identity.is_some() && !opening.asked {
            return Err(self.misfit(
                "a handshake had an identity, and no layer goes by it: the stack needs \
                 RequireAuthLayer::handshake or RequireAuthLayer::first_of",
            ));
        }
        match opening.refused {
            None => Ok(()),
            Some(NotIdentified::Missing) => {
                self.known.required.store(true, Ordering::Relaxed);
                Err(UpgradeRejectionKind::IdentityMissing)
            }
            Some(NotIdentified::OtherType) => Err(self.other_type()),
        }
    }

    fn other_type(&self) -> UpgradeRejectionKind {
        self.warn(
            "a handshake had a HandshakeIdentity of another type of user than the endpoint's \
             handshake_identity or its RequireAuthLayer",
        );
        UpgradeRejectionKind::IdentityType
    }

    fn misfit(&self, what: &'static str) -> UpgradeRejectionKind {
        self.warn(what);
        UpgradeRejectionKind::IdentitySettings
    }

    /// Once: every handshake would say it again.
    fn warn(&self, what: &'static str) {
        if !self.known.told.swap(true, Ordering::Relaxed) {
            tracing::warn!("{what}; handshakes are answered 500");
        }
    }
}
