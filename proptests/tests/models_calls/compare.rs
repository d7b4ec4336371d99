//! What is compared after each step, and what was lost at the end.

use asyncserver::proto::{self, CallOutcome};
use asyncserver::wire::TaskId;
use oracle::model::calls::{End, Outcome};
use oracle::model::suite::{Compared, Run, same};
use oracle::model::time::NEVER;

use crate::Pair;

impl Pair {
    pub(crate) fn compare(&mut self, run: &mut Run) -> Compared {
        for name in std::mem::take(&mut self.model.reached) {
            run.reach(name);
        }
        self.compare_finished(run)?;
        if self.end.is_some() {
            return Ok(());
        }
        let (model, library) = (&self.model, &self.library);
        same("C7: places", &model.places(), &library.places())?;
        same("C6", &model.is_negotiating(), &library.is_negotiating())?;
        same("C2", &model.is_draining(), &library.is_draining())?;
        same("pending", &model.pending(), &library.pending())?;
        same("heard", &model.has_heard(), &library.has_heard())?;
        let told = model.told.map(|told| {
            (
                told.granted,
                told.max_in_flight,
                told.max_message,
                told.idle_limit,
            )
        });
        run.reach_if(told.is_some(), "negotiated");
        let theirs = library.negotiated().map(|told| {
            (
                told.granted.bits(),
                told.max_in_flight,
                told.max_message_bytes,
                told.idle_limit_s,
            )
        });
        same("E3", &told, &theirs)?;
        for call in &model.calls {
            let waits = call.owner == oracle::model::calls::Owner::Caller;
            let context = waits.then_some(call.number);
            let theirs = library.context(TaskId(call.id)).copied();
            same("whose call it is", &context, &theirs)?;
        }
        if let Some(id) = library.wanted_piece() {
            same("whose message goes on", &model.streaming(), &Some(id.0))?;
        }
        // The library may look at its clocks too early, never too late.
        let ours = model.next_deadline().unwrap_or(NEVER);
        let theirs = self
            .clock
            .deadline(library.next_deadline())
            .unwrap_or(NEVER);
        same(
            "C4: the next deadline is not missed",
            &true,
            &(theirs <= ours),
        )
    }

    fn compare_finished(&mut self, run: &mut Run) -> Compared {
        let mut finished = Vec::new();
        while let Some(call) = self.library.poll_finished() {
            let outcome = match call.outcome {
                CallOutcome::Ok(message) => Outcome::Ok(message.to_vec()),
                CallOutcome::Error(code) => Outcome::Error(code.0),
                CallOutcome::NotAccepted { accepted } => Outcome::NotAccepted(accepted),
                CallOutcome::TimedOut { started, .. } => {
                    Outcome::TimedOut(started == proto::Started::Perhaps)
                }
                CallOutcome::TooLong { length_bytes, .. } => Outcome::TooLong(length_bytes),
                other => return same("an outcome", &String::new(), &format!("{other:?}")),
            };
            finished.push((call.context, call.id.0, outcome));
        }
        let ours = std::mem::take(&mut self.model.finished);
        for (_, _, outcome) in &ours {
            match outcome {
                Outcome::TimedOut(true) => run.reach("timed out, may have run"),
                Outcome::TimedOut(false) => run.reach("timed out, not started"),
                Outcome::TooLong(_) => run.reach("response too long"),
                _ => {}
            }
        }
        same("what became of calls", &ours, &finished)
    }

    /// C3: the connection is lost now.
    pub(crate) fn compare_lost(self, run: &mut Run) -> Compared {
        match self.end {
            Some(End::Write) => run.reach("end: Write"),
            Some(End::KeepAlive) => run.reach("end: KeepAlive"),
            Some(End::Negotiate) => run.reach("end: Negotiate"),
            Some(End::Message(_)) => run.reach("end: Message"),
            Some(End::Unused) => run.reach("end: Unused"),
            Some(End::UnknownCode(..)) => run.reach("end: UnknownCode"),
            Some(End::NotLive(..)) => run.reach("end: NotLive"),
            Some(End::TooEarly(_)) => run.reach("end: TooEarly"),
            Some(End::NotGranted(_)) => run.reach("end: NotGranted"),
            Some(End::AcceptedTooMany(..)) => run.reach("end: AcceptedTooMany"),
            None => {}
        }
        let ours = self.model.lost();
        for (_, _, may_have_run) in &ours {
            run.reach(if *may_have_run {
                "lost, may have run"
            } else {
                "lost, not started"
            });
        }
        let theirs = self.library.into_lost().into_iter();
        let theirs: Vec<_> = theirs
            .map(|lost| {
                let may_have_run = lost.started == proto::Started::Perhaps;
                (lost.context, lost.id.0, may_have_run)
            })
            .collect();
        same("C3: what is lost", &ours, &theirs)
    }
}
