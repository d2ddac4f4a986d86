// Package repocheck checks the rules of this repository. It contains tests only: each rule is a
// function over a tree of files. TestRules applies the rules to the repository. TestRulesCatch
// applies them to small trees that break them, so that a rule that has stopped working is noticed.
package repocheck
