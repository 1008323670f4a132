// Package leaf keeps what a clinic's system says of appointments on the
// clinic's own computer until the pipeline has answered for it, however long
// the line between them is down.
//
//	clinic's system ── clinic.<t>.appointment.* ──▶ OUTBOX ──┐ local JetStream,
//	      ▲                                                  │ synced to disk
//	      │                                            relay │ in order per appointment
//	      │                                                  ▼
//	      └── clinic.<t>.receipt.<id> ◀── RECEIPTS ◀── answer of the pipeline
//	                                                   after its commit
//
// What it guarantees:
//
//   - A publish that the local server acknowledged is on disk, and stays in
//     OUTBOX until there is a receipt for it: accepted, duplicate or rejected.
//   - The receipt is on disk before the event is deleted. A crash between the
//     two says the event once more, and the pipeline answers duplicate.
//   - Events of one appointment are said in the order in which they were
//     published; one that is not answered holds up those behind it.
//   - What was rejected is kept as it came, in REJECTED, for thirty days.
//
// Patients' data stays on the clinic's computer and in the pipeline's ledger: no
// stream of the pipeline has it. It must not know the ledger.
package leaf
