package exports

import (
	"strings"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
)

// places are what the pointers of problems are called on a clinic's screen.
var places = map[string]string{
	"/number": "예약번호", "/external_id": "차트번호", "/name": "환자명", "/phone": "휴대폰", "/patient": "환자", "/date": "예약일", "/time": "예약시간",
	"/status": "상태", "/surgery_type": "진료항목", "/updated_at": "수정일시", "/source": "source",
}

// words are what the codes of problems mean, and what to do.
var words = map[string]string{
	"missing":               "값이 없습니다",
	"not-in-list":           "알 수 없는 값입니다. 예: 예약신청, 예약완료, 접수, 완료, 노쇼, 취소",
	"not-a-date":            "날짜가 아닙니다. 예: 2026-12-01",
	"not-a-time":            "시각이 아닙니다. 예: 14:30",
	"not-a-date-time":       "일시가 아닙니다. 예: 2026-12-01 14:30",
	"not-a-phone-number":    "휴대전화 번호가 아닙니다. 예: 010-1234-5678",
	"too-long":              "너무 깁니다",
	"wrong-form":            "쓸 수 없는 글자가 있습니다",
	"wrong-number-of-cells": "칸 수가 제목 줄과 다릅니다",
	"unknown_patient":       "등록되지 않은 환자입니다. 차트번호와 휴대폰을 함께 적어 주세요",
	"ambiguous_patient":     "어느 환자인지 특정할 수 없습니다. 차트번호를 적어 주세요",
	"invalid_patient":       "차트번호나 휴대폰이 필요합니다",
	"unknown-encoding":      "UTF-8이나 CP949(ANSI)로 저장해 주세요",
	"not-a-table":           "CSV 파일이 아닙니다. 엑셀에서 CSV로 저장해 주세요",
	"too-few":               "제목 줄 아래에 내용이 없습니다",
	"too-many":              "줄이 너무 많습니다",
}

// say is a problem for whoever works at the clinic's desk.
func say(p appointment.Problem) string {
	place, column := places[p.Pointer], false
	if place == "" {
		place, column = strings.CutPrefix(p.Pointer, "/columns/")
	}
	if n, ok := strings.CutPrefix(p.Pointer, "/lines/"); ok {
		place = n + "번째 줄"
	}
	text := words[p.Code]
	switch {
	case column && p.Code == "missing":
		text = "열이 없습니다"
	case text == "":
		text = p.Code
	}
	return strings.TrimSpace(place + " " + text)
}
