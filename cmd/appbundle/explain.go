package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"appbundle/bundle"
)

func newExplainCmd(out *printer) *cobra.Command {
	format := textFormat()
	cmd := &cobra.Command{
		Use:   "explain [ABnnn]",
		Short: "what a rule of the standard asks for, and why",
		Long: `Explain tells what a conforming app does, the remedy where one does not,
the deployment that it would have broken, and an example. Without a number it lists all rules.`,
		Args: takes(0, 1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var ids []string
			for _, r := range bundle.Rules() {
				ids = append(ids, r.ID+"\t"+r.Title)
			}
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			rules := bundle.Rules()
			if len(args) == 1 {
				rule, err := ruleByID(rules, args[0])
				if err != nil {
					return err
				}
				rules = []bundle.Rule{rule}
			}
			switch {
			case format.value == "json":
				return out.json(rulesJSON(rules))
			case len(args) == 1:
				r := rules[0]
				out.print("%s (%s): %s\nremedy: %s\nwhy: %s\nexample: %s\n", r.ID, r.Level, r.Title, r.Fix, r.Why, r.Example)
			default:
				for _, r := range rules {
					out.print("%s  %-7s  %s\n", r.ID, r.Level, r.Title)
				}
			}
			return nil
		},
	}
	cmd.Flags().Var(format, "format", "of the answer: `text|json`")
	return cmd
}

// ruleByID finds a rule; "ab003" is AB003.
func ruleByID(rules []bundle.Rule, id string) (bundle.Rule, error) {
	for _, r := range rules {
		if strings.EqualFold(r.ID, id) {
			return r, nil
		}
	}
	return bundle.Rule{}, &usageError{err: fmt.Errorf("no rule is called %q", id), hint: "appbundle explain"}
}

// A ruleReport is one rule in JSON.
type ruleReport struct {
	ID    string `json:"id"`
	Level string `json:"level"`
	Title string `json:"title"`
	Fix   string `json:"fix"`
	Why   string `json:"why"`
	// Example is what breaks the rule, an arrow, and what is right.
	Example string `json:"example"`
}

// A rulesReport is the answer of explain in JSON.
type rulesReport struct {
	Format int          `json:"format"`
	Rules  []ruleReport `json:"rules"`
}

func rulesJSON(rules []bundle.Rule) rulesReport {
	report := rulesReport{Format: 1, Rules: []ruleReport{}}
	for _, r := range rules {
		report.Rules = append(report.Rules, ruleReport{r.ID, string(r.Level), r.Title, r.Fix, r.Why, r.Example})
	}
	return report
}
