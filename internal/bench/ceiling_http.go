package bench

import (
	"context"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/providers"
)

// HTTPSends measures requests per second to the gateway, so many at a time,
// by the adapter that the dispatcher uses and nothing else.
func HTTPSends(ctx context.Context, g providers.Gateway, count, connections int) (float64, error) {
	to, err := phone.Parse("010-1000-0000", phone.Options{AllowTestBands: true})
	if err != nil {
		return 0, err
	}
	return each(ctx, count, connections, func(ctx context.Context, _ int) error {
		_, err := g.Send(ctx, providers.Message{
			Key: event.Key(uuid.New(), event.Kakao), Group: "bench", To: to,
			TemplateCode: "SIM_OK", Variables: map[string]string{"환자명": "김하늘"},
		})
		return err
	})
}
