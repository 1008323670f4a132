package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// print says how to reach every part, with commands that work when pasted.
func (c *simulatorCommand) print(w io.Writer, url string) {
	pace := fmt.Sprintf("%g×", c.Scale)
	if c.Manual {
		pace = "by hand"
	}
	ledger := "in memory"
	if c.Ledger != "" {
		ledger = c.Ledger
	}
	auth := ""
	if c.Token != "" {
		auth = ` -H "Authorization: Bearer $SIMULATOR_TOKEN"`
	}
	fmt.Fprintf(w, `gateway simulator 발송사 시뮬레이터: profile %s, seed %d, time %s, ledger %s
  Alimtalk  %[5]s/alimtalk/v2.3/appkeys/{appkey}/messages
  SMS       %[5]s/sms/v3.0/appKeys/{appKey}/sender/sms
  console   %[5]s/__sim/console
  control   %[5]s/__sim/…  clock config profile outage script webhooks · requests ledger violations stats metrics · reset

Send one to somebody who is not on Kakao, and see what came of it:
  curl -s '%[5]s/alimtalk/v2.3/appkeys/try/messages' -H 'X-Secret-Key: try' -H 'Content-Type: application/json' -d '{"senderKey":"%[6]s","templateCode":"SIM_OK","recipientList":[{"recipientNo":"01000190000","recipientGroupingKey":"try:kakao","resendParameter":{"isResend":false}}]}'
  curl -s '%[5]s/__sim/ledger'%[7]s
A clinic sends here with, in its file:
  accounts: [{channel: kakao, vendor: nhn, base_url: "%[5]s", app_key: try, secret: try, sender: %[6]s}]
The numbers that mean something: %[8]s simulator --numbers

`, c.Profile, c.Seed, pace, ledger, url, strings.Repeat("a", 40), auth, program())
}

// printNumbers lists the magic numbers.
func printNumbers(w io.Writer) {
	fmt.Fprint(w, "010-0KKK-SSSN: KKK is what Alimtalk does, SSS what SMS does, N tells patients apart.\nThese blocks do not exist in Korea. 010-1… is drawn from the profile; every other number receives at once.\n\n")
	var last simulator.Product
	for _, s := range simulator.Scenarios() {
		if s.Product != last {
			if last != "" {
				fmt.Fprintln(w)
			}
			last = s.Product
		}
		number := "010-0" + s.Digits() + "-…"
		if s.Product == simulator.SMS {
			number = "…-" + s.Digits() + "N"
		}
		fmt.Fprintln(w, pad(string(s.Product), 10)+pad(number, 14)+s.String())
	}
}

func accepts(st simulator.Stats) string {
	var n uint64
	for _, k := range st.Accepted {
		n += k
	}
	return fmt.Sprint(n)
}

func breaches(st simulator.Stats) (n int) {
	for _, k := range st.Violations {
		n += k
	}
	return n
}
