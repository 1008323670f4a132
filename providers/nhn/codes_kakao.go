package nhn

import "github.com/doctorsflow/doctorsflow/providers"

// alimtalkRefusals are the answers of Alimtalk v2.3 to a send (TOAST-DOCS/
// Alimtalk ko/error-code.md, "API 응답 코드"; only what a send can meet). They
// are no other product's: -1001 and -1005 mean something else at SMS.
var alimtalkRefusals = refusals{
	// The key was used within ten minutes; it says nothing of the request
	// that used it. 400305 is the newer API's code for the same.
	-1005:  {kind: providers.Duplicate, scope: providers.Request},
	400305: {kind: providers.Duplicate, scope: providers.Request},

	-5000: {kind: providers.Rejected, scope: providers.Recipient}, // invalid recipient number
	-4019: {kind: providers.Rejected, scope: providers.Recipient}, // invalid recipient number
	-3301: {kind: providers.Rejected, scope: providers.Policy},    // the recipient unsubscribed

	-1000: {kind: providers.Rejected, scope: providers.Sender}, // invalid app key
	-1001: {kind: providers.Rejected, scope: providers.Sender}, // invalid secret key
	-1002: {kind: providers.Rejected, scope: providers.Sender}, // invalid SMS app key
	-1003: {kind: providers.Rejected, scope: providers.Sender}, // invalid SMS sender number
	-1006: {kind: providers.Rejected, scope: providers.Sender}, // profile without a sender key
	-1014: {kind: providers.Rejected, scope: providers.Sender}, // profile not active
	-1024: {kind: providers.Rejected, scope: providers.Sender}, // a profile group cannot send
	-1027: {kind: providers.Rejected, scope: providers.Sender}, // profile blocked
	-1030: {kind: providers.Rejected, scope: providers.Sender}, // owner not verified
	-2017: {kind: providers.Rejected, scope: providers.Sender}, // no such profile
	-2502: {kind: providers.Rejected, scope: providers.Sender}, // resend not set up
	-4004: {kind: providers.Rejected, scope: providers.Sender}, // no such app key
	-4005: {kind: providers.Rejected, scope: providers.Sender}, // app key disabled

	// Quota. The delivery code is 4156; its twin in an answer is not
	// documented, and would refuse all the same.
	-4156: {kind: providers.Throttled, scope: providers.Sender},

	4:     {kind: providers.Rejected, scope: providers.Request}, // parameter validation
	-1028: {kind: providers.Rejected, scope: providers.Request}, // first-user limit on variables
	-1031: {kind: providers.Rejected, scope: providers.Request, each: true},
	-2000: {kind: providers.Rejected, scope: providers.Request}, // field too long
	-2001: {kind: providers.Rejected, scope: providers.Request}, // field blank
	-2002: {kind: providers.Rejected, scope: providers.Request}, // field null
	-2003: {kind: providers.Rejected, scope: providers.Request}, // field too short
	-2004: {kind: providers.Rejected, scope: providers.Request}, // length out of range
	-2005: {kind: providers.Rejected, scope: providers.Request}, // value out of range
	-2018: {kind: providers.Rejected, scope: providers.Request}, // button
	-2019: {kind: providers.Rejected, scope: providers.Request}, // text over 1,300 characters
	-2025: {kind: providers.Rejected, scope: providers.Request}, // request date past
	-2026: {kind: providers.Rejected, scope: providers.Request}, // request date too far
	-2027: {kind: providers.Rejected, scope: providers.Request}, // request date unreadable
	-2032: {kind: providers.Rejected, scope: providers.Request}, // title over 50 characters
	-2033: {kind: providers.Rejected, scope: providers.Request}, // item
	-2034: {kind: providers.Rejected, scope: providers.Request}, // item highlight
	-2035: {kind: providers.Rejected, scope: providers.Request}, // head over 16 characters
	-2036: {kind: providers.Rejected, scope: providers.Request}, // represent link
	-2037: {kind: providers.Rejected, scope: providers.Request}, // too long with items
	-2504: {kind: providers.Rejected, scope: providers.Request}, // quick reply
	-2505: {kind: providers.Rejected, scope: providers.Request}, // too many buttons
	-3000: {kind: providers.Rejected, scope: providers.Request}, // web link without linkMo
	-3002: {kind: providers.Rejected, scope: providers.Request}, // body unreadable
	-3003: {kind: providers.Rejected, scope: providers.Request}, // no such template
	-3004: {kind: providers.Rejected, scope: providers.Request}, // template parameter
	-3005: {kind: providers.Rejected, scope: providers.Request}, // template not approved
	-3006: {kind: providers.Rejected, scope: providers.Request}, // link without http
	-3007: {kind: providers.Rejected, scope: providers.Request}, // app link incomplete
	-3008: {kind: providers.Rejected, scope: providers.Request}, // variable in a button's name
	-3009: {kind: providers.Rejected, scope: providers.Request}, // button without a name
	-3010: {kind: providers.Rejected, scope: providers.Request}, // text does not match
	-3011: {kind: providers.Rejected, scope: providers.Request}, // buttons do not match
	-3033: {kind: providers.Rejected, scope: providers.Request}, // button not in the template
	-3039: {kind: providers.Rejected, scope: providers.Request}, // summary without a list
	-3040: {kind: providers.Rejected, scope: providers.Request}, // highlight too long
	-3041: {kind: providers.Rejected, scope: providers.Request}, // image link without http
	-3042: {kind: providers.Rejected, scope: providers.Request}, // head does not match
	-3043: {kind: providers.Rejected, scope: providers.Request}, // items do not match
	-3044: {kind: providers.Rejected, scope: providers.Request}, // business form button
	-3045: {kind: providers.Rejected, scope: providers.Request}, // business form button
	-3046: {kind: providers.Rejected, scope: providers.Request}, // represent link does not match
	-3048: {kind: providers.Rejected, scope: providers.Request}, // parameter over 1,300 characters
	-3049: {kind: providers.Rejected, scope: providers.Request}, // parameters do not match
	-4000: {kind: providers.Rejected, scope: providers.Request}, // invalid parameter
	-4011: {kind: providers.Rejected, scope: providers.Request}, // no recipients
	-4200: {kind: providers.Rejected, scope: providers.Request}, // invalid resend message
	-8006: {kind: providers.Rejected, scope: providers.Request}, // no authentication word
	-8008: {kind: providers.Rejected, scope: providers.Request}, // banned word
	-9993: {kind: providers.Rejected, scope: providers.Request}, // request part missing
	-9994: {kind: providers.Rejected, scope: providers.Request}, // argument of another type
	-9996: {kind: providers.Rejected, scope: providers.Request}, // content type
	-9997: {kind: providers.Rejected, scope: providers.Request}, // bad request
	-9998: {kind: providers.Rejected, scope: providers.Request}, // no such API

	// Documented as failed, yet they tell of trouble inside: -7000 is a failed
	// call from NHN to Kakao, which Kakao may have taken, and -9999 can happen
	// at any point of the work. Asking by key decides.
	-7000: {kind: providers.Ambiguous},
	-9999: {kind: providers.Ambiguous},
}

// alimtalkReports are the results of Alimtalk (the same page, "발송 결과 코드").
// At SMS, 3018 and 3019 speak of the sender; here they speak of the patient.
var alimtalkReports = reports{
	"1000": {state: providers.Delivered},

	// 3005: "sent, receipt not confirmed; may be received within 3 days".
	// 4000, 4001, 4122, 4161: the result is not known, or not yet. 3011 and
	// 4131: another message of the same id is the one that counts.
	"3005": {state: providers.Unconfirmed},
	"3011": {state: providers.Unconfirmed},
	"4000": {state: providers.Unconfirmed},
	"4001": {state: providers.Unconfirmed},
	"4122": {state: providers.Unconfirmed},
	"4131": {state: providers.Unconfirmed},
	"4161": {state: providers.Unconfirmed},

	"1012": {state: providers.Failed, scope: providers.Recipient}, // user key
	"1013": {state: providers.Failed, scope: providers.Recipient}, // app connection
	"1015": {state: providers.Failed, scope: providers.Recipient}, // app user id
	"1020": {state: providers.Failed, scope: providers.Recipient}, // phone number missing or invalid
	"3008": {state: providers.Failed, scope: providers.Recipient}, // phone number
	"3018": {state: providers.Failed, scope: providers.Recipient}, // inactive or sanctioned user
	"3019": {state: providers.Failed, scope: providers.Recipient}, // not a KakaoTalk user
	"3020": {state: providers.Failed, scope: providers.Recipient}, // blocked Alimtalk
	"3021": {state: providers.Failed, scope: providers.Recipient}, // KakaoTalk too old

	"3022": {state: providers.Failed, scope: providers.Policy}, // outside the hours

	"1002": {state: providers.Failed, scope: providers.Sender}, // partner key
	"1003": {state: providers.Failed, scope: providers.Sender}, // sender key
	"1006": {state: providers.Failed, scope: providers.Sender}, // profile deleted
	"1007": {state: providers.Failed, scope: providers.Sender}, // profile blocked
	"1011": {state: providers.Failed, scope: providers.Sender}, // no contract
	"1014": {state: providers.Failed, scope: providers.Sender}, // business number
	"1016": {state: providers.Failed, scope: providers.Sender}, // business number differs
	"1021": {state: providers.Failed, scope: providers.Sender}, // channel blocked
	"1022": {state: providers.Failed, scope: providers.Sender}, // channel closed
	"1023": {state: providers.Failed, scope: providers.Sender}, // channel deleted
	"1024": {state: providers.Failed, scope: providers.Sender}, // channel being deleted
	"1025": {state: providers.Failed, scope: providers.Sender}, // channel sanctioned
	"1027": {state: providers.Failed, scope: providers.Sender}, // channel's messages sanctioned
	"1028": {state: providers.Failed, scope: providers.Sender}, // targeting not allowed
	"2003": {state: providers.Failed, scope: providers.Sender}, // test server
	"4103": {state: providers.Failed, scope: providers.Sender}, // partner not found
	"4104": {state: providers.Failed, scope: providers.Sender}, // profile not found
	"4138": {state: providers.Failed, scope: providers.Sender}, // count limit
	"4156": {state: providers.Failed, scope: providers.Sender}, // over the most that may be sent

	"1001": {state: providers.Failed, scope: providers.Request}, // body not JSON
	"1004": {state: providers.Failed, scope: providers.Request}, // field missing
	"1030": {state: providers.Failed, scope: providers.Request}, // parameter
	"1033": {state: providers.Failed, scope: providers.Request}, // message type
	"2001": {state: providers.Failed, scope: providers.Request}, // "cannot be sent", unexpectedly
	"2005": {state: providers.Failed, scope: providers.Request}, // image unreadable
	"3006": {state: providers.Failed, scope: providers.Request}, // "failed to send", internal error
	"3012": {state: providers.Failed, scope: providers.Request}, // communication with Kakao failed
	"3013": {state: providers.Failed, scope: providers.Request}, // empty
	"3014": {state: providers.Failed, scope: providers.Request}, // too long
	"3015": {state: providers.Failed, scope: providers.Request}, // no such template
	"3016": {state: providers.Failed, scope: providers.Request}, // text does not match
	"3023": {state: providers.Failed, scope: providers.Request}, // message syntax
	"3024": {state: providers.Failed, scope: providers.Request}, // image
	"3025": {state: providers.Failed, scope: providers.Request}, // variable too long
	"3026": {state: providers.Failed, scope: providers.Request}, // button extra too long
	"3027": {state: providers.Failed, scope: providers.Request}, // buttons do not match
	"3028": {state: providers.Failed, scope: providers.Request}, // title does not match
	"3029": {state: providers.Failed, scope: providers.Request}, // title too long
	"3030": {state: providers.Failed, scope: providers.Request}, // emphasis does not match
	"3031": {state: providers.Failed, scope: providers.Request}, // head does not match
	"3032": {state: providers.Failed, scope: providers.Request}, // head too long
	"3033": {state: providers.Failed, scope: providers.Request}, // highlight does not match
	"3034": {state: providers.Failed, scope: providers.Request}, // highlight title too long
	"3035": {state: providers.Failed, scope: providers.Request}, // highlight text too long
	"3036": {state: providers.Failed, scope: providers.Request}, // items do not match
	"3037": {state: providers.Failed, scope: providers.Request}, // item too long
	"3038": {state: providers.Failed, scope: providers.Request}, // summary does not match
	"3039": {state: providers.Failed, scope: providers.Request}, // summary too long
	"3040": {state: providers.Failed, scope: providers.Request}, // summary characters
	"3042": {state: providers.Failed, scope: providers.Request}, // represent link does not match
	"3043": {state: providers.Failed, scope: providers.Request}, // image variables
	"4100": {state: providers.Failed, scope: providers.Request}, // request id
	"4101": {state: providers.Failed, scope: providers.Request}, // request date
	"4102": {state: providers.Failed, scope: providers.Request}, // template request
	"4110": {state: providers.Failed, scope: providers.Request}, // message type
	"4120": {state: providers.Failed, scope: providers.Request}, // payload
	"4121": {state: providers.Failed, scope: providers.Request}, // target
	"4130": {state: providers.Failed, scope: providers.Request}, // request id pattern
	"4132": {state: providers.Failed, scope: providers.Request}, // variables do not match
	"4133": {state: providers.Failed, scope: providers.Request}, // template stopped
	"4134": {state: providers.Failed, scope: providers.Request}, // template changed
	"4137": {state: providers.Failed, scope: providers.Request}, // request failed
	"4139": {state: providers.Failed, scope: providers.Request}, // request failed
	"4140": {state: providers.Failed, scope: providers.Request}, // request failed
	"4141": {state: providers.Failed, scope: providers.Request}, // request failed
	"4142": {state: providers.Failed, scope: providers.Request}, // request failed
	"4143": {state: providers.Failed, scope: providers.Request}, // request expired
	"4144": {state: providers.Failed, scope: providers.Request}, // over 30 KB
	"9998": {state: providers.Failed, scope: providers.Request}, // not in service

	"3000": {state: providers.Failed, scope: providers.Request, weak: true}, // unexpected error
	"3010": {state: providers.Failed, scope: providers.Request, weak: true}, // unexpected error
	"9999": {state: providers.Failed, scope: providers.Request, weak: true}, // unknown error
}
