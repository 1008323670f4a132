package workflow

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"cel.dev/cel-go/cel"
	celcost "cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/ext"
)

// Limits of an expression: what a clinic writes may neither loop nor allocate
// without bound.
const (
	maxExpression = 2000    // bytes
	maxCost       = 100_000 // CEL's own unit, about one operation each
)

// World is what an expression sees: the moment at which it is evaluated. All
// values are JSON's: maps, lists, texts, numbers and booleans.
type World struct {
	Patient     map[string]any
	Appointment map[string]any
	Trigger     map[string]any
	// Happened is what became of the run's messages, by node: sent,
	// delivered, failed and, where links are followed, clicked.
	Happened map[string]any
}

// environment is CEL with our four variables, the string functions, and no
// macro that walks a list within a list without end: the cost bounds those.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	open := cel.MapType(cel.StringType, cel.DynType)
	return cel.NewEnv(
		cel.Variable("patient", open), cel.Variable("appointment", open),
		cel.Variable("trigger", open), cel.Variable("happened", open),
		ext.Strings(ext.StringsVersion(4)), cel.ParserExpressionSizeLimit(maxExpression), cel.ParserRecursionLimit(50),
	)
})

// Expression is a checked condition. It is safe for concurrent use.
type Expression struct {
	program cel.Program
	source  string
}

// sizes bounds how large the inputs are for the estimate of a cost.
type sizes struct{}

// EstimateSize implements [celcost.CostEstimator].
func (sizes) EstimateSize(celcost.AstNode) *celcost.SizeEstimate {
	return &celcost.SizeEstimate{Min: 0, Max: 100}
}

// EstimateCallCost implements [celcost.CostEstimator].
func (sizes) EstimateCallCost(string, string, *celcost.AstNode, []celcost.AstNode) *celcost.CallEstimate {
	return nil
}

// CompileExpression checks a condition: it parses, it gives true or false, and
// it is cheap whatever it is shown.
func CompileExpression(source string) (*Expression, error) {
	if source == "" {
		return nil, errors.New("a condition is empty")
	}
	if len(source) > maxExpression {
		return nil, fmt.Errorf("a condition has at most %d bytes", maxExpression)
	}
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("workflow: expressions: %w", err)
	}
	ast, issues := env.Compile(source)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return nil, fmt.Errorf("line %d, character %d: %s", first.Location.Line(), first.Location.Column()+1, first.Message)
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("a condition is true or false, and this one is a %s", t)
	}
	cost, err := env.EstimateCost(ast, sizes{})
	if err != nil {
		return nil, fmt.Errorf("workflow: cost of an expression: %w", err)
	}
	if cost.Max > maxCost {
		shown := fmt.Sprint(cost.Max)
		if cost.Max == math.MaxUint64 {
			shown = "without bound"
		}
		return nil, fmt.Errorf("a condition may cost %d, and this one's cost is %s", maxCost, shown)
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, err
	}
	return &Expression{program, source}, nil
}

// Holds evaluates the condition. What is not there is no error of the clinic's:
// a missing field makes the condition false, and missing says so.
func (e *Expression) Holds(w World) (holds, missing bool) {
	out, _, err := e.program.Eval(map[string]any{
		"patient": orEmpty(w.Patient), "appointment": orEmpty(w.Appointment),
		"trigger": orEmpty(w.Trigger), "happened": orEmpty(w.Happened),
	})
	if err != nil {
		return false, true
	}
	b, ok := out.Value().(bool)
	return b, !ok
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}
