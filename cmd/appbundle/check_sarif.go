package main

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"path"
	"slices"

	"appbundle/bundle"
)

// The parts of SARIF 2.1.0 that a report of check has. Columns are left out: ours
// count bytes, and SARIF's characters.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID    string       `json:"id"`
		Short sarifText    `json:"shortDescription"`
		Full  sarifText    `json:"fullDescription"`
		Help  sarifText    `json:"help"`
		Level sarifDefault `json:"defaultConfiguration"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifDefault struct {
		Level bundle.Level `json:"level"`
	}
	sarifResult struct {
		Rule         string             `json:"ruleId"`
		Index        int                `json:"ruleIndex"`
		Level        bundle.Level       `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
)

// sarif gives the report as a SARIF log. Paths are relative to the working
// directory, from which dir is the application directory.
func (r *checkReport) sarif(dir string) *sarifLog {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "appbundle", Version: version}}, Results: []sarifResult{}}
	rules := bundle.Rules()
	for _, rule := range rules {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID:    rule.ID,
			Short: sarifText{rule.Title},
			Full:  sarifText{rule.Title + "; otherwise: " + rule.Why},
			Help:  sarifText{rule.Fix + "\n\nexample: " + rule.Example},
			Level: sarifDefault{rule.Level},
		})
	}
	for _, f := range slices.Concat(r.Findings, r.Suppressed) {
		at := sarifPhysical{Artifact: sarifArtifact{(&url.URL{Path: path.Join(dir, f.File)}).String()}}
		if f.Line > 0 {
			at.Region = &sarifRegion{f.Line}
		}
		// A line that moves is the same finding.
		sum := sha256.Sum256([]byte(f.Rule + "\x00" + f.File + "\x00" + f.Message))
		res := sarifResult{
			Rule:         f.Rule,
			Index:        slices.IndexFunc(rules, func(rule bundle.Rule) bool { return rule.ID == f.Rule }),
			Level:        f.Level,
			Message:      sarifText{said(&f)},
			Locations:    []sarifLocation{{at}},
			Fingerprints: map[string]string{"appbundle/v1": fmt.Sprintf("%x", sum)},
		}
		if f.Reason != "" {
			res.Suppressions = []sarifSuppression{{"external", f.Reason}}
		}
		run.Results = append(run.Results, res)
	}
	return &sarifLog{
		Schema:  "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0",
		Runs:    []sarifRun{run},
	}
}

// said is what a finding says and what to do.
func said(f *bundle.Finding) string {
	if f.Fix == "" {
		return f.Message
	}
	return f.Message + "; " + f.Fix
}
