package repocheck

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"unicode"
)

var (
	inlineLink    = regexp.MustCompile(`\]\(<?([^)\s>]+)`)
	referenceLink = regexp.MustCompile(`^\s*\[[^\]]+\]:\s+(\S+)`)
	htmlLink      = regexp.MustCompile(`(?:src|href)="([^"]+)"`)
	codeSpan      = regexp.MustCompile("`[^`]*`")
	scheme        = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*:`)
)

func links(t *tree) []violation {
	var found []violation
	for _, name := range t.all {
		text, ok := t.read(name)
		if path.Ext(name) != ".md" || !ok {
			continue
		}
		for i, line := range prose(text) {
			for _, re := range []*regexp.Regexp{inlineLink, referenceLink, htmlLink} {
				for _, m := range re.FindAllStringSubmatch(line, -1) {
					if what := broken(t, name, m[1]); what != "" {
						found = append(found, violation{fmt.Sprintf("%s:%d", name, i+1), what})
					}
				}
			}
		}
	}
	return found
}

// prose returns the lines of a Markdown text, those of code blocks and the code
// within a line left empty.
func prose(text string) []string {
	lines := strings.Split(text, "\n")
	code := false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence {
			code = !code
		}
		if code || fence {
			line = ""
		}
		lines[i] = codeSpan.ReplaceAllString(line, "")
	}
	return lines
}

// broken says what is wrong with a link in the file from, "" if nothing is. Links
// to other places are not followed.
func broken(t *tree, from, link string) string {
	if scheme.MatchString(link) || strings.HasPrefix(link, "//") {
		return ""
	}
	file, fragment, _ := strings.Cut(link, "#")
	target := from
	if file != "" {
		target = path.Join(path.Dir(from), file)
	}
	if _, err := fs.Stat(t.fsys, target); err != nil {
		return link + " leads nowhere"
	}
	if fragment == "" || path.Ext(target) != ".md" {
		return ""
	}
	text, _ := t.read(target)
	if !hasHeading(text, fragment) {
		return link + " names no heading there"
	}
	return ""
}

// hasHeading reports whether a heading of the text has the anchor that GitHub
// makes of it.
func hasHeading(text, anchor string) bool {
	for _, line := range headings(text) {
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, line)
		if slug == anchor {
			return true
		}
	}
	return false
}

// headings returns the texts of the headings, with the code in them.
func headings(text string) (titles []string) {
	code := false
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
		}
		if title := strings.TrimLeft(line, "#"); !code && title != line && strings.HasPrefix(title, " ") {
			titles = append(titles, strings.TrimSpace(title))
		}
	}
	return titles
}
