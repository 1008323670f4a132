package nhn

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/providers"
)

// MaxReports is how many hooks one webhook may hold; NHN documents no limit
// and is not known to send more than some dozens.
const MaxReports = 5000

// hook is one element of a webhook's hooks. Its names are those of a query's
// row; _links and _link are never read, so that they cannot be followed.
type hook struct {
	HookID word `json:"hookId"`
	row
}

// Reports reads the body of a webhook of the channel's product (TOAST-DOCS/SMS
// ko/webhook.md, TOAST-DOCS/Alimtalk ko/webhook-api-guide.md), with either
// spelling of the fields that NHN's own sample misspells. Hooks that have no
// usable hookId, or name no message, are left out and counted in unusable. The
// errors are those of the port.
func Reports(c event.Channel, body []byte) (list []providers.Report, unusable int, err error) {
	var v struct {
		Product word              `json:"productName"`
		Event   word              `json:"event"`
		Hooks   []json.RawMessage `json:"hooks"`
	}
	if json.Unmarshal(body, &v) != nil || v.Event == "" {
		return nil, 0, providers.ErrReportShape
	}
	switch product := strings.ToLower(string(v.Product)); {
	case c == event.Kakao && product == "sms", c == event.SMS && strings.Contains(product, "kakao"):
		return nil, 0, providers.ErrReportProduct
	case v.Event != "MESSAGE_RESULT_UPDATE":
		return nil, 0, providers.ErrReportEvent
	case v.Hooks == nil:
		return nil, 0, providers.ErrReportShape
	case len(v.Hooks) > MaxReports:
		return nil, 0, providers.ErrReportSize
	}
	read := hint(c)
	for _, raw := range v.Hooks {
		var h hook
		if json.Unmarshal(raw, &h) != nil {
			unusable++
			continue
		}
		r, ok := h.report(read)
		if !ok {
			unusable++
			continue
		}
		list = append(list, r)
	}
	return list, unusable, nil
}

// report is the hook as the port has it.
func (h *hook) report(read reading) (providers.Report, bool) {
	if !h.HookID.plain(maxID) {
		return providers.Report{}, false
	}
	key := h.key()
	if len(key) > maxKey {
		key = ""
	}
	if h.RequestID == "" && key != "" {
		h.RequestID = "-" // the key names the message alone
	}
	res, ok := h.result(read)
	if !ok || res.Seq > math.MaxInt32 {
		return providers.Report{}, false
	}
	if res.RequestID == "-" {
		res.RequestID, res.Seq = "", 0
	}
	return providers.Report{
		HookID: string(h.HookID), Key: key, RequestID: res.RequestID, Seq: res.Seq, State: res.State, Code: res.Code, At: res.At,
	}, true
}

// hint is how the product's hooks are understood. They are hints, so that a
// code which a query may yet call a failure counts as one here.
func hint(c event.Channel) reading {
	if c == event.Kakao {
		return reading{func(r *row) providers.State {
			// The hook carries no messageStatus, which would make a weak
			// code a failure, nor a resendStatus.
			failed := *r
			if failed.Code != "" && failed.Code != "1000" {
				failed.Status = "FAILED"
			}
			return alimtalkState(&failed)
		}, alimtalkReports}
	}
	return reading{func(r *row) providers.State {
		told := *r
		told.Message = smsHookStatus[r.Status]
		return smsState(&told)
	}, smsReports}
}

// smsHookStatus maps messageStatus of SMS's webhook to msgStatus of its
// queries.
var smsHookStatus = map[word]word{"COMPLETED": "3", "FAILED": "0", "CANCEL": "4", "DUPLICATED": "5", "FAILED_AD": "6"}
