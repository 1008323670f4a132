package simulator

// Answers to requests, by product; the texts are those of the error-code
// guides (Alimtalk of 2026-06, SMS of 2026-06).
var (
	alimtalkAnswers = map[int]string{
		0:     "SUCCESS",
		4:     "Parameter validation failed.",
		-1000: "Invalid appKey.",
		-1001: "Invalid secretKey.",
		-1002: "Invalid Sms appkey",
		-1003: "Invalid Sms Sendno",
		-1005: "The same 'X-NC-API-IDEMPOTENCY-KEY' was used within the last 10 minute.",
		-1014: "Not active status plus friend.",
		-1016: "It is not found any messages responding with that requestId or recipientSeq.",
		-1028: "Blacklist can't use more than 14 characters in template value.",
		-1031: "All of receivers are failed to send.",
		-2000: "A field is longer than its limit.",
		-2001: "A required field is blank.",
		-2004: "The 'recipientList' must be between 1 and 1000.",
		-2005: "The 'pageSize' must be less than or equal to 1000.",
		-2017: "Not exist plus friend.",
		-2019: "The content that is replaced by the template parameters can not exceed 1,300 characters.",
		-2025: "You can not send messages on past dates. Please check `requestDate` again.",
		-2026: "You can not send messages after 90 days. Please check `requestDate` again.",
		-2027: "The 'requestDate' has invalid format.",
		-2029: "All of your messages to cancel are not found or do not meet conditions to cancel.",
		-2502: "Please set up plus-friend resend setting.",
		-3003: "Template does not exist.",
		-3004: "Please check template parameter.",
		-3005: "Please check template status.",
		-3010: "The contents are not matched to template. This message can be resend by sms service if the resend setting is on.",
		-3048: "The template parameter's length can not exceed 1300 characters.",
		-3049: "The template parameter is not matched to template.",
		-4000: "Invalid parameter",
		-4003: "Search is possible within 31 days.",
		-4004: "Not exist appkey.",
		-4005: "Appkey is disabled status.",
		-4017: "You can not search the messages before 90 days.",
		-4103: "RequestId or startRequestDate/endRequestDate is invalid.",
		-5000: "RecipientNo is invalid.",
		-7000: "Vender request API is failed.",
		-8006: "The content must contain auth guidement.",
		-9996: "Only application/json Content-type is supported.",
		-9997: "Client Error.",
		-9998: "Not exist API",
		-9999: "System error. Please inquire at support@toast.com.",
	}
	smsAnswers = map[int]string{
		0:     "SUCCESS",
		4:     "Parameter validation failed.",
		-1000: "Invalid appKey.",
		-1001: "Service is not exist.",
		-1002: "Service is disabled.",
		-1004: "Not allow ip.",
		-1005: "Service parameter is invalid.",
		-1008: "Service is blocked.",
		-2000: "Date format error.",
		-2001: "RecipientList can not be null.",
		-2004: "File is expired or does not exist.",
		-2008: "Invalid requestId.",
		-2011: "RequestId or start/endRequestDate or start/endCreateDate is required.",
		-2012: "Search parameter is invalid.(requestId and mtPr).",
		-2014: "The recipient can not be empty.",
		-2015: "Title or Body exceed maximum byte.",
		-2016: "The max recipient size is 1000.",
		-2018: "RecipientNo can not be empty.",
		-2019: "RecipientNo is invalid.",
		-2022: "requestDate is not before currentDate",
		-2023: "Unacceptable characters in title and body",
		-2024: "LMS/MMS Type is not sent to outside of Korea.",
		-2052: "The monthly sending limit is exceeded.",
		-2110: "template is not exist.",
		-2312: "Not regist sendno.",
		-2313: "This sendno is blocked.",
		-4000: "Search is possible within one month.",
		-6000: "Block service is not joined.",
		-6001: "Recipient Number is refused.",
		-6003: "The body must contain block guide ment.",
		-6004: "This is not a joined unsubscribeNo.",
		-8000: "The body must contain auth guide ment.",
		-9996: "Only application/json Content-type is supported.",
		-9997: "Invalid API parameters.",
		-9998: "Not exist API.",
		-9999: "System error. Please inquire at support@toast.com.",
	}
)

// Names of delivery results, by product; a code that is not listed is named
// "실패".
var (
	alimtalkResults = map[string]string{
		"1000": "성공", "1007": "차단된 발신 프로필", "1025": "제재 중인 채널", "3005": "수신 확인 안 됨",
		"3008": "전화번호 오류", "3012": "카카오 통신 오류", "3015": "템플릿 없음", "3016": "템플릿 불일치",
		"3018": "메시지를 전송할 수 없음", "3019": "카카오톡 미사용자", "3020": "알림톡 수신 차단",
		"3021": "카카오톡 최소 버전 미지원", "3022": "발송 가능 시간 아님", "4133": "사용 중지된 템플릿",
		"4156": "발송 건수 제한 초과", "4161": "처리 중", "9999": "시스템 오류",
	}
	smsResults = map[string]string{
		"1000": "성공", "1001": "Server Busy", "1002": "수신 번호 형식 오류", "2000": "전송 시간 초과",
		"2003": "단말기 전원 꺼짐", "2005": "음영 지역", "3001": "가입자 없음",
		"3003": "수신 번호 형식 오류 또는 결번", "3004": "단말기 서비스 일시 정지", "3006": "착신 거절",
		"3010": "MMS 미지원 단말", "3012": "스팸", "3018": "변작 방지 서비스에 가입된 발신 번호",
		"3019": "사전 등록되지 않은 발신 번호", "E915": "중복 메시지", "E919": "발송 제한 시간", "E999": "기타 오류",
	}
)

func resultName(p Product, code string) string {
	names := smsResults
	if p == Alimtalk {
		names = alimtalkResults
	}
	if n, ok := names[code]; ok {
		return n
	}
	return "실패"
}

// verdict is what a result code proves.
func verdict(p Product, code string) state {
	switch {
	case code == "1000":
		return delivered
	case code == "E915":
		return duplicated
	case p == Alimtalk && (code == "3005" || code == "4000" || code == "4001" || code == "4161"):
		return unconfirmed // may still arrive: neither success nor failure
	}
	return failed
}
