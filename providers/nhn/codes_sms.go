package nhn

import "github.com/doctorsflow/doctorsflow/providers"

// smsRefusals are the answers of SMS v3.0 to a send (TOAST-DOCS/SMS
// ko/error-code.md, "API 결과 코드"; only what a send can meet). They are no
// other product's: -1005 is a duplicate key at Alimtalk and a bad parameter
// here.
var smsRefusals = refusals{
	-2018: {kind: providers.Rejected, scope: providers.Recipient}, // recipient number empty
	-2019: {kind: providers.Rejected, scope: providers.Recipient}, // recipient number invalid

	-6001: {kind: providers.Rejected, scope: providers.Policy}, // the recipient opted out

	-1000: {kind: providers.Rejected, scope: providers.Sender}, // invalid app key
	-1001: {kind: providers.Rejected, scope: providers.Sender}, // no such app key
	-1002: {kind: providers.Rejected, scope: providers.Sender}, // app key disabled
	-1003: {kind: providers.Rejected, scope: providers.Sender}, // not a member of the project
	-1004: {kind: providers.Rejected, scope: providers.Sender}, // address not allowed
	-1007: {kind: providers.Rejected, scope: providers.Sender}, // invalid member
	-1008: {kind: providers.Rejected, scope: providers.Sender}, // project blocked
	-2312: {kind: providers.Rejected, scope: providers.Sender}, // sender number not registered
	-2313: {kind: providers.Rejected, scope: providers.Sender}, // sender number blocked
	-6000: {kind: providers.Rejected, scope: providers.Sender}, // opt-out service not joined

	-2052: {kind: providers.Throttled, scope: providers.Sender}, // the month's quota

	4:     {kind: providers.Rejected, scope: providers.Request}, // parameter validation
	-1005: {kind: providers.Rejected, scope: providers.Request}, // parameter invalid
	-1006: {kind: providers.Rejected, scope: providers.Request}, // message type
	-2000: {kind: providers.Rejected, scope: providers.Request}, // date format
	-2001: {kind: providers.Rejected, scope: providers.Request}, // no recipients
	-2002: {kind: providers.Rejected, scope: providers.Request}, // attachment name
	-2003: {kind: providers.Rejected, scope: providers.Request}, // attachment type
	-2004: {kind: providers.Rejected, scope: providers.Request}, // attachment expired
	-2005: {kind: providers.Rejected, scope: providers.Request}, // attachment size
	-2006: {kind: providers.Rejected, scope: providers.Request}, // template type
	-2014: {kind: providers.Rejected, scope: providers.Request}, // title or body empty
	-2015: {kind: providers.Rejected, scope: providers.Request}, // title or body too long
	-2016: {kind: providers.Rejected, scope: providers.Request}, // over 1,000 recipients
	-2022: {kind: providers.Rejected, scope: providers.Request}, // request date past
	-2023: {kind: providers.Rejected, scope: providers.Request}, // characters
	-2024: {kind: providers.Rejected, scope: providers.Request}, // LMS abroad
	-2110: {kind: providers.Rejected, scope: providers.Request}, // no such template
	-2111: {kind: providers.Rejected, scope: providers.Request}, // template parameter
	-6003: {kind: providers.Rejected, scope: providers.Request}, // ad without opt-out text
	-6004: {kind: providers.Rejected, scope: providers.Request}, // opt-out number not in use
	-8000: {kind: providers.Rejected, scope: providers.Request}, // no authentication word
	-9995: {kind: providers.Rejected, scope: providers.Request}, // API version
	-9996: {kind: providers.Rejected, scope: providers.Request}, // content type
	-9997: {kind: providers.Rejected, scope: providers.Request}, // bad JSON
	-9998: {kind: providers.Rejected, scope: providers.Request}, // no such API

	// Documented as failed, yet they tell of trouble inside, which can follow
	// the acceptance: a queue that answered too late, an error at any point.
	-2021: {kind: providers.Ambiguous},
	-9999: {kind: providers.Ambiguous},
}

// smsReports are the results of SMS (the same page, "수신 결과 코드"), whose
// table calls each of them success or failure itself.
var smsReports = reports{
	"1000": {state: providers.Delivered},

	// E915: the console's duplicate block suppressed the text, because its
	// twin is on its way. The patient may well have it.
	"E915": {state: providers.Unconfirmed},

	"1002": {state: providers.Failed, scope: providers.Recipient}, // number format
	"1019": {state: providers.Failed, scope: providers.Recipient}, // time to live
	"2000": {state: providers.Failed, scope: providers.Recipient}, // 25 h (LMS 80 h) passed
	"2001": {state: providers.Failed, scope: providers.Recipient}, // radio
	"2002": {state: providers.Failed, scope: providers.Recipient}, // radio to handset
	"2003": {state: providers.Failed, scope: providers.Recipient}, // powered off
	"2004": {state: providers.Failed, scope: providers.Recipient}, // buffer full
	"2005": {state: providers.Failed, scope: providers.Recipient}, // no coverage
	"2006": {state: providers.Failed, scope: providers.Recipient}, // deleted
	"2007": {state: providers.Failed, scope: providers.Recipient}, // handset trouble
	"3000": {state: providers.Failed, scope: providers.Recipient}, // cannot be sent
	"3001": {state: providers.Failed, scope: providers.Recipient}, // no subscriber
	"3002": {state: providers.Failed, scope: providers.Recipient}, // adult check
	"3003": {state: providers.Failed, scope: providers.Recipient}, // no such number
	"3004": {state: providers.Failed, scope: providers.Recipient}, // service suspended
	"3005": {state: providers.Failed, scope: providers.Recipient}, // in a call, not reached
	"3007": {state: providers.Failed, scope: providers.Recipient}, // handset without callback URLs
	"3008": {state: providers.Failed, scope: providers.Recipient}, // handset trouble
	"3010": {state: providers.Failed, scope: providers.Recipient}, // handset without MMS
	"3015": {state: providers.Failed, scope: providers.Recipient}, // no route

	"3006": {state: providers.Failed, scope: providers.Policy}, // rejected by the recipient
	"3012": {state: providers.Failed, scope: providers.Policy}, // spam
	"3013": {state: providers.Failed, scope: providers.Policy}, // service refused
	"E919": {state: providers.Failed, scope: providers.Policy}, // restricted hours

	"1003": {state: providers.Failed, scope: providers.Sender}, // sender number format
	"3017": {state: providers.Failed, scope: providers.Sender}, // sender number format, anti-spoofing
	"3018": {state: providers.Failed, scope: providers.Sender}, // sender number protected by its owner
	"3019": {state: providers.Failed, scope: providers.Sender}, // sender number blocked

	"1001": {state: providers.Failed, scope: providers.Request}, // server busy
	"3009": {state: providers.Failed, scope: providers.Request}, // message format
	"3011": {state: providers.Failed, scope: providers.Request}, // server error
	"3014": {state: providers.Failed, scope: providers.Request}, // other
	"3016": {state: providers.Failed, scope: providers.Request}, // attachment size
	"E900": {state: providers.Failed, scope: providers.Request}, // other
	"E911": {state: providers.Failed, scope: providers.Request}, // attachment without extension
	"E913": {state: providers.Failed, scope: providers.Request}, // attachment empty
	"E999": {state: providers.Failed, scope: providers.Request}, // other
}
