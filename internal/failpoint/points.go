// Package failpoint names the hand-overs of the path, at which a test binary
// (build tag failpoint) can be told to die; in every other build it is empty
// functions that leave nothing behind. It must not know what is handed over.
package failpoint

// Point is a hand-over: the moment after one thing is safe and before the next
// is begun.
type Point string

// The hand-overs of ingest.
const (
	// IngestTaken: a call was judged good; nothing of it is committed.
	IngestTaken Point = "ingest.taken"
	// IngestCommitted: the trigger is committed; nobody was answered and
	// nothing published.
	IngestCommitted Point = "ingest.committed"
	// IngestAnswering: the trigger is committed; the 2xx is not written.
	IngestAnswering Point = "ingest.answering"
	// IngestAnswered: the commit's callers have their results; the ids are not
	// published.
	IngestAnswered Point = "ingest.answered"
	// IngestPublished: the ids are stored on TRIGGERS.
	IngestPublished Point = "ingest.published"
	// ReportTaken: a gateway's report was read; nothing of it is kept.
	ReportTaken Point = "report.taken"
	// ReportKept: it is committed; the gateway has no 2xx.
	ReportKept Point = "report.kept"
)

// The hand-overs of a change that a clinic's system tells.
const (
	// ChangeTaken: an event was read; nothing of it is committed.
	ChangeTaken Point = "change.taken"
	// ChangePlanning: inside its transaction, where plans are made anew.
	ChangePlanning Point = "change.planning"
	// ChangeKept: it is committed, with what it changed; nobody was answered.
	ChangeKept Point = "change.kept"

	// NoticeKept: what a FHIR notification holds is kept; how far its subscription
	// was heard is not.
	NoticeKept Point = "notice.kept"
	// GapRead: what was missed of a subscription is known; nothing of it is kept.
	GapRead Point = "gap.read"
	// ResourceRead: a resource was read and what it says is kept; it is pending
	// still.
	ResourceRead Point = "resource.read"

	// ScheduleFired: schedules that are due are held; nothing is written.
	ScheduleFired Point = "schedule.fired"
	// BatchPlanning: a batch's next patients are read; nothing is written.
	BatchPlanning Point = "batch.planning"
	// BatchPlanned: their runs are written; nothing is committed.
	BatchPlanned Point = "batch.planned"
	// BatchKept: they are committed.
	BatchKept Point = "batch.kept"
)

// The hand-overs of the planner and of release.
const (
	// PlannerPlanning: inside the planner's transaction.
	PlannerPlanning Point = "planner.planning"
	// PlannerPlanned: the plan is committed; its due steps are not published.
	PlannerPlanned Point = "planner.planned"
	// PlannerPublished: they are stored on STEPS; the trigger's message is not
	// acknowledged.
	PlannerPublished Point = "planner.published"
	// PlannerSettled: it is; release has no hint of what is due later.
	PlannerSettled Point = "planner.settled"
	// DeciderDeciding: inside the transaction that leads drawn runs on.
	DeciderDeciding Point = "decider.deciding"
	// DeciderDecided: it is committed; the steps that are due are not published.
	DeciderDecided Point = "decider.decided"
	// ReleaseLeased: due steps are leased; they are not published.
	ReleaseLeased Point = "release.leased"
	// ReleasePublished: they are published.
	ReleasePublished Point = "release.published"
	// ReleaseFound: triggers that never reached the planner are leased; they
	// are not published.
	ReleaseFound Point = "release.found"
)

// The hand-overs of the dispatcher, its resolver, its poll and its confirmer.
const (
	// DispatcherAdmitted: slots and tokens are taken; nothing is claimed.
	DispatcherAdmitted Point = "dispatcher.admitted"
	// DispatcherClaiming: inside the claim's transaction.
	DispatcherClaiming Point = "dispatcher.claiming"
	// DispatcherClaimed: the claim is committed; nothing is written.
	DispatcherClaimed Point = "dispatcher.claimed"
	// DispatcherWritten: the request is written; no answer was read.
	DispatcherWritten Point = "dispatcher.written"
	// DispatcherAnswered: the answer was read; the outcome is not published.
	DispatcherAnswered Point = "dispatcher.answered"
	// DispatcherPublished: the outcome is stored on DELIVERIES; the step's
	// message is not acknowledged.
	DispatcherPublished Point = "dispatcher.published"
	// DispatcherSlept: steps without a token sleep in the ledger; their
	// messages are not acknowledged.
	DispatcherSlept Point = "dispatcher.slept"
	// DispatcherTold: what the guards refused is published; the messages are
	// not acknowledged.
	DispatcherTold Point = "dispatcher.told"
	// ResolverAsked: the gateway said what became of requests; it is not
	// published.
	ResolverAsked Point = "resolver.asked"
	// ResolverPublished: it is.
	ResolverPublished Point = "resolver.published"
	// PollerRead: results were read; they are not published.
	PollerRead Point = "poller.read"
	// PollerPublished: they are; the account's mark has not moved.
	PollerPublished Point = "poller.published"
	// ConfirmerAsked: reports were confirmed; the evidence is not published.
	ConfirmerAsked Point = "confirmer.asked"
	// ConfirmerPublished: it is; the reports are not settled.
	ConfirmerPublished Point = "confirmer.published"
)

// The hand-overs of the recorder.
const (
	// RecorderApplying: inside the recorder's transaction.
	RecorderApplying Point = "recorder.applying"
	// RecorderApplied: outcomes are committed; their messages are not
	// acknowledged.
	RecorderApplied Point = "recorder.applied"
	// RecorderFellBack: an SMS step is committed; release has no hint of it.
	RecorderFellBack Point = "recorder.fell-back"
)
