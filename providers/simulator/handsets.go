package simulator

import (
	_ "embed"
	"net/http"
)

// handsetsHTML shows what each phone shows, for people. It asks the control
// plane as any other caller does; with a control token open it as
// /__sim/console#token=….
//
//go:embed handsets.html
var handsetsHTML []byte

// handsets serves the page, which holds nothing itself. It may load nothing
// from elsewhere and run nothing that a message's text brings.
func handsets() answer {
	return answer{
		status: http.StatusOK, body: handsetsHTML, mime: "text/html; charset=utf-8",
		extra: map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'",
			"X-Content-Type-Options":  "nosniff",
			"Referrer-Policy":         "no-referrer",
		},
	}
}
