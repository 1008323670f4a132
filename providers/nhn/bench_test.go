package nhn_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/providers"
	"github.com/doctorsflow/doctorsflow/providers/nhn"
)

// fixed answers every request on its socket with the same bytes, as cheaply as
// a gateway can, so that the figures are the adapter's.
func fixed(b *testing.B, body string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ln.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\nContent-Length: " +
		strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go answerAll(c, answer)
		}
	}()
	return "http://" + ln.Addr().String()
}

func answerAll(c net.Conn, answer []byte) {
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	for {
		length := 0
		for {
			line, err := in.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) == 2 {
				break
			}
			const name = "Content-Length: "
			if len(line) > len(name) && string(line[:len(name)]) == name {
				length, _ = strconv.Atoi(string(line[len(name) : len(line)-2]))
			}
		}
		if _, err := io.CopyN(io.Discard, in, int64(length)); err != nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

func BenchmarkSend(b *testing.B) {
	to, err := phone.Parse("01000000000", phone.Options{AllowTestBands: true})
	if err != nil {
		b.Fatal(err)
	}
	m := providers.Message{
		Key: "01930000-0000-7000-8000-000000000000:kakao", Group: "clinic:workflow", To: to, TemplateCode: "SIM_OK_APPT",
		Variables: map[string]string{"환자명": "김하늘", "일시": "11/24(화) 14:30", "병원명": "미소치과"},
		Title:     "예약 안내", Body: "김하늘님, 11/24(화) 14:30 예약되어 있습니다.",
	}
	for ch, body := range map[event.Channel]string{
		event.Kakao: `{"header":{"resultCode":0,"resultMessage":"SUCCESS","isSuccessful":true},"message":{"requestId":"20261122101500xYz123456780","senderGroupingKey":"clinic:workflow","sendResults":[{"recipientSeq":1,"recipientNo":"01000000000","resultCode":0,"resultMessage":"SUCCESS","recipientGroupingKey":"01930000-0000-7000-8000-000000000000:kakao"}]}}`,
		event.SMS:   `{"header":{"isSuccessful":true,"resultCode":0,"resultMessage":"SUCCESS"},"body":{"data":{"requestId":"20261122101505aB3dE5fG7h0","statusCode":"2","senderGroupingKey":"clinic:workflow","sendResultList":[{"recipientNo":"01000000000","resultCode":0,"resultMessage":"SUCCESS","recipientSeq":1,"recipientGroupingKey":"01930000-0000-7000-8000-000000000000:kakao"}]}}}`,
	} {
		b.Run(string(ch), func(b *testing.B) {
			hc := nhn.HTTPClient(nhn.HTTPOptions{})
			b.Cleanup(hc.CloseIdleConnections)
			acct := account(ch, fixed(b, body), false)
			var gw providers.Gateway = nhn.NewSMS(acct, hc)
			if ch == event.Kakao {
				gw = nhn.NewAlimtalk(acct, hc)
			}
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := gw.Send(context.Background(), m); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkResults reads a page of 999 results; divide by that for the
// cost of one.
func BenchmarkResults(b *testing.B) {
	row := `{"requestId":"20261122101500xYz123456780","recipientSeq":1,"requestDate":"2026-11-22 10:15:00.0","createDate":"2026-11-22 10:15:00.0","receiveDate":"2026-11-22 10:15:02.0","resendStatus":"RSC01","resendStatusName":"대체 발송 미대상","resendResultCode":null,"resendRequestId":null,"messageStatus":"COMPLETED","resultCode":"1000","resultCodeName":"성공"}`
	body := `{"header":{"resultCode":0,"resultMessage":"SUCCESS","isSuccessful":true},"messages":[` +
		strings.TrimSuffix(strings.Repeat(row+",", 999), ",") + `]}`
	hc := nhn.HTTPClient(nhn.HTTPOptions{})
	b.Cleanup(hc.CloseIdleConnections)
	gw := nhn.NewAlimtalk(account(event.Kakao, fixed(b, body), false), hc)
	b.ReportAllocs()
	for b.Loop() {
		now := time.Now()
		rs, err := gw.Results(b.Context(), now.Add(-time.Minute), now)
		if err != nil || len(rs) != 999 {
			b.Fatal(len(rs), err)
		}
	}
}
