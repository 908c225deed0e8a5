package main

import (
	"encoding/xml"
	"fmt"

	"appbundle/bundle"
)

// The parts of a JUnit report that the readers of CI agree on.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Failure *junitFailure `xml:"failure"`
		Skipped *junitSkipped `xml:"skipped"`
		Out     string        `xml:"system-out,omitempty"`
	}
	junitFailure struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr"`
	}
)

// junit gives the report as tests: a rule without a finding is one that passed, a
// finding one that failed, or, where it does not count, one that was skipped. A
// warning fails with strict only.
func (r *checkReport) junit(app *bundle.App, strict bool) ([]byte, error) {
	suite := junitSuite{Name: "appbundle check " + app.Name}
	found := map[string]bool{}
	add := func(f *bundle.Finding) *junitCase {
		found[f.Rule] = true
		suite.Cases = append(suite.Cases, junitCase{Class: "appbundle." + f.Rule, Name: fmt.Sprintf("%s: %s", f.Pos, f.Message)})
		return &suite.Cases[len(suite.Cases)-1]
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		if c := add(f); f.Level == bundle.Error || strict {
			c.Failure = &junitFailure{string(f.Level), said(f), f.String()}
			suite.Failures++
		} else {
			c.Out = f.String()
		}
	}
	for i := range r.Suppressed {
		f := &r.Suppressed[i]
		add(f).Skipped = &junitSkipped{f.Reason}
		suite.Skipped++
	}
	for _, rule := range bundle.Rules() {
		if !found[rule.ID] {
			suite.Cases = append(suite.Cases, junitCase{Class: "appbundle." + rule.ID, Name: rule.Title})
		}
	}
	suite.Tests = len(suite.Cases)
	text, err := xml.MarshalIndent(junitSuites{Suites: []junitSuite{suite}}, "", "  ")
	return append([]byte(xml.Header), append(text, '\n')...), err
}
