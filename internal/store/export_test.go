package store

// What the tests outside of the package look at.
var (
	AsWritten   = asWritten
	RegisterIDs = registerIDs
	PlanFreely  = planFreely
)

// Settled waits for what the ledger does in the background.
func (db *DB) Settled() { db.handled.working.Wait() }
