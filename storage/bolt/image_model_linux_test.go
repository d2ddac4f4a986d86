package bolt

import "strings"

// imageStart is an image that a recording began with.
type imageStart struct {
	files map[string][]byte
	said  []imageLine
	plan  plan
}

func (s *imageStart) holds() map[string][]byte {
	if s == nil {
		return nil
	}
	return s.files
}

// heard returns what was said before a moment.
func (t *imageTrace) heard(at int) (all []imageLine) {
	for _, line := range t.said {
		if line.begin < at && !strings.HasPrefix(line.text, saidNote) {
			all = append(all, line)
		}
	}
	return all
}

// modelAt returns what the model knows of a trace at a moment.
func (t *imageTrace) modelAt(at int) (*model, error) {
	m := newModel()
	if t.start != nil {
		if err := m.hearAll(t.start.said, t.start.plan); err != nil {
			return nil, err
		}
		m.crash()
	}
	return m, m.hearAll(t.heard(at), t.plan)
}

func (m *model) hearAll(lines []imageLine, p plan) error {
	_, m.atOnce = flushEvery(p.flush)
	for _, line := range lines {
		if _, err := m.hear(line.text); err != nil {
			return err
		}
	}
	return nil
}

// crash notes that the process is gone: what was not durable it will never write.
func (m *model) crash() {
	m.unsaved = nil
	for _, f := range m.records {
		f.seen = f.expires
	}
}
