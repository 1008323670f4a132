package bench

// Run is what one load came to.
type Run struct {
	// Calls were made, Accepted of them answered 202, Refused not.
	Calls    int `json:"calls"`
	Accepted int `json:"accepted"`
	Refused  int `json:"refused"`
	// Answers counts the answers by HTTP status; "none" are calls that failed.
	Answers map[string]int `json:"answers"`
	// Sends are the requests that the gateway answered, refusals included;
	// Fallbacks the SMS that followed a refusal.
	Sends     int `json:"sends"`
	Fallbacks int `json:"fallbacks"`
	// Lost are steps of accepted triggers that never reached the gateway,
	// Doubled the messages that reached it once more.
	Lost    int `json:"lost"`
	Doubled int `json:"doubled"`

	// AcceptedRate is 202 answers per second, from the first call to the last
	// answer; SendRate is sends per second from the first call to the last
	// arrival, the wait for the steps that are due 2 s later included.
	AcceptedRate float64 `json:"accepted_per_s"`
	SendRate     float64 `json:"sends_per_s"`
	// BusySendRate is sends per second in the shortest time in which half of
	// them arrived.
	BusySendRate float64 `json:"sends_per_s_busiest_half"`

	// Accept is the time to the answer; Trigger from the start of the call to
	// the arrival of each step that is due at once; Lateness the arrival of
	// the later step after its due time; Fallback from the start of the call
	// to the arrival of the SMS.
	Accept   Latency `json:"accept"`
	Trigger  Latency `json:"trigger_to_gateway"`
	Lateness Latency `json:"lateness"`
	Fallback Latency `json:"fallback"`

	// Usage is from the first call until the ledger had nothing left to do.
	Usage
	// CPUPer1000 is that of worker and database for 1,000 sends.
	CPUPer1000 float64 `json:"cpu_s_per_1000_sends"`
}

// The names of the processes.
const (
	Worker   = "worker"
	Database = "database"
	Simulate = "gateway"
	Driver   = "driver"
)

func (r *Run) use(u Usage) {
	r.Usage = u
	_, worker := u.CPU[Worker]
	_, database := u.CPU[Database]
	if worker && database && r.Sends > 0 {
		r.CPUPer1000 = (r.CPU[Worker] + r.CPU[Database]) / float64(r.Sends) * 1000
	}
}

// Exact reports whether nothing was lost and nothing doubled.
func (r *Run) Exact() bool { return r.Lost == 0 && r.Doubled == 0 }
