// Package repocheck holds this repository to its own rules. It is tests only:
// each rule is a function over a tree of files, which TestRules applies to the
// repository and TestRulesCatch to small trees that break it, so that no rule can
// stop working without being noticed.
package repocheck
