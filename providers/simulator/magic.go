package simulator

import "time"

// The magic recipients: 010-0KKK-SSSN, where KKK is the Alimtalk scenario, SSS
// the SMS scenario and N tells patients apart. Blocks 010-0 and 010-1 do not
// exist in Korea, so a leak cannot reach anyone. 010-1xxx-xxxx is drawn from
// the active profile; every other number behaves as "ideal".
//
// A scenario is a mode digit and a two-digit outcome.
const (
	modeReport   = 0 // report after a drawn delay
	modeReject   = 1 // refused in the answer; outcomes without such a refusal are reported as in mode 0
	modeLate     = 2 // report after 5 minutes
	modeVeryLate = 3 // report after 30 minutes; a text expires instead (25 h, LMS 80 h) with 2000
	modeSilent   = 4 // never reported
	modeFault    = 5 // the first request meets a transport fault, later ones are well
	modeHook     = 6 // 1000, with something wrong about its webhook
	modeThrottle = 7 // refused for rate or quota
	modeFlaky    = 8 // two requests end in the outcome, later ones in 1000
)

const (
	lateAfter     = 5 * time.Minute
	veryLateAfter = 30 * time.Minute
	smsExpiry     = 25 * time.Hour // sending-policy: NHN keeps trying this long
	lmsExpiry     = 80 * time.Hour
	hangFor       = 30 * time.Second
	conflictGap   = 30 * time.Second // between FAILED and the 1000 that contradicts it
)

// outcome is a row of the table: what is reported, and the refusal that stands
// for it in an answer. An empty report means that it is always refused.
type outcome struct {
	report string
	refuse int
}

var alimtalkOutcomes = map[int]outcome{
	0:  {report: "1000"},
	5:  {report: "3005"},
	8:  {report: "3008", refuse: -5000},
	12: {report: "3012", refuse: -7000},
	15: {report: "3015", refuse: -3003},
	16: {report: "3016", refuse: -3010},
	18: {report: "3018"},
	19: {report: "3019"},
	20: {report: "3020"},
	21: {report: "3021"},
	22: {report: "3022"},
	25: {report: "1025"},
	28: {refuse: -1028},
	33: {report: "4133"},
	61: {report: "4161"},
	99: {report: "9999", refuse: -9999},
}

var smsOutcomes = map[int]outcome{
	0:  {report: "1000"},
	11: {report: "1001"},
	12: {report: "1002", refuse: -2019},
	20: {report: "2000"},
	23: {report: "2003"},
	25: {report: "2005"},
	31: {report: "3001"},
	33: {report: "3003"},
	34: {report: "3004"},
	36: {report: "3006"},
	40: {report: "3010"},
	42: {report: "3012"},
	48: {report: "3018"},
	49: {report: "3019"},
	61: {refuse: -6001},
	79: {report: "E919"},
	95: {report: "E915"},
	99: {report: "E999", refuse: -9999},
}

// faults are the outcomes of mode 5.
var faults = map[int]fault{
	0: faultHTTP500,
	1: faultHTTP502,
	3: faultHTTP503,
	4: faultAcceptHang,
	5: faultReset,
	6: faultAcceptReset,
	7: faultTruncated,
	8: faultEmpty,
	9: faultNoID,
}

// anomaly is what is wrong about a webhook; the outcomes of mode 6.
type anomaly uint8

const (
	hookTripled  anomaly = iota + 1 // 0: the same hook three times
	hookEarly                       // 1: before the HTTP answer
	hookLate                        // 2: after hooks of later messages
	hookDropped                     // 3: never; only a query tells
	hookTypos                       // 4: recipientGropuingKey, _link
	hookConflict                    // 5: FAILED, then 1000
	hookForged                      // 6: with a wrong signature
	hookGhost                       // 7: in one batch with a hook of an unknown request
)

// conflicting is what mode 6, outcome 5 reports first.
var conflicting = map[Product]string{Alimtalk: "3012", SMS: "2003"}

// The outcomes of mode 7.
const (
	throttleOnce  = 0
	throttleFor30 = 1
	throttleQuota = 2
)

// scenario is a magic number's digits for one product.
type scenario struct {
	mode, outcome int
}

// magic returns the scenario of a number in the magic band.
func magic(p Product, no string) (s scenario, ok bool) {
	if len(no) != 11 || no[:4] != "0100" {
		return s, false
	}
	d := no[4:7]
	if p == SMS {
		d = no[7:10]
	}
	return scenario{int(d[0] - '0'), int(d[1]-'0')*10 + int(d[2]-'0')}, true
}

// probabilistic reports whether a number's outcome is drawn from the profile.
func probabilistic(no string) bool { return len(no) == 11 && no[:4] == "0101" }

// outcomeOf looks a scenario's outcome up; an unlisted one is 1000.
func outcomeOf(p Product, n int) outcome {
	table := smsOutcomes
	if p == Alimtalk {
		table = alimtalkOutcomes
	}
	if o, ok := table[n]; ok {
		return o
	}
	return outcome{report: "1000"}
}

// refusedApps are the magic app keys and their answers, by product. The SMS
// codes are SMS's own; Alimtalk documents only a disabled app key.
var refusedApps = map[string]map[Product]int{
	"simExpired": {SMS: -1002, Alimtalk: -4005},
	"simBlocked": {SMS: -1008, Alimtalk: -4005},
}

// refusedAddress is the magic app key whose access list never holds the
// caller; Alimtalk documents no such list and answers with a disabled key.
const refusedAddress = "simIp"
