//! Take members out of a room, and tell them.

use crate::{
    message::Message,
    outbound::Dropped,
    quota::RateKeyValue,
    room::{
        members::Removed,
        name::RoomName,
        scope::{self, RoomNotice},
        state::{Room, Subscriber},
    },
};

impl<R> Room<R> {
    /// Takes out everybody for whom `is` holds, which are all of the user of `marker` if that is said, joins under way included,
    /// and tells those who were members; returns how many that is.
    pub(super) fn remove(
        &self,
        marker: Option<RateKeyValue>,
        is: impl Fn(&Subscriber<R>) -> bool,
    ) -> usize
    where
        R: 'static,
    {
        let words = self.words_for(&is);
        let mut dropped = Dropped::default();
        let removed = {
            let mut members = self.lock();
            let removed = members.remove_all(is);
            if let Some(kept) = members.log.kept() {
                let markers = removed.iter().map(|it| it.subscriber().marker());
                marker.into_iter().chain(markers).for_each(|it| kept.removed(it));
            }
            for it in &removed {
                let (subscriber, outlet) = (it.subscriber(), it.subscriber().outlet());
                outlet.forget(&**subscriber);
                let words =
                    words.iter().find(|(name, _)| it.is_member() && name == subscriber.name());
                // In the same hold of the lock, so that it stands before the answer to the next join.
                if let Some((_, message)) = words {
                    let _closed = outlet.tell(message.clone(), &mut dropped);
                }
            }
            members.trim();
            removed
        };
        // Not under the room's lock: it may be this room that is shed.
        removed.iter().for_each(|it| it.subscriber().outlet().relieve(&mut dropped));
        let count = removed.iter().filter(|it| it.is_member()).count();
        self.directory.count_left(count);
        let left = removed.into_iter().filter_map(Removed::give_back);
        left.for_each(|it| it.announce_left());
        count
    }

    /// How those are told that they are removed for whom `is` holds, by what they call the room. They are the
    /// application's words, which are made under no lock.
    fn words_for(&self, is: impl Fn(&Subscriber<R>) -> bool) -> Vec<(RoomName, Message)>
    where
        R: 'static,
    {
        let mut names = vec![self.key.name().clone()];
        for it in self.lock().iter().filter(|it| is(it)) {
            names.extend(it.alias.as_deref().filter(|it| !names.contains(it)).cloned());
        }
        let said = |name: RoomName| {
            let notice = RoomNotice::Removed(scope::Removed::new(name.clone()));
            self.encoder.notice(notice, None).map(|message| (name, message))
        };
        names.into_iter().filter_map(said).collect()
    }
}
