package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Two tabs are two devices. One signs the other out, whose page says why and stays so.
func TestSignOutTheOther(t *testing.T) {
	s, b := newScene(t), browser(t)
	laptop := s.tab(t, b).signIn("ana", "Laptop")
	phone := s.tab(t, b).signIn("ana", "Phone")
	for _, p := range []*tab{laptop, phone} {
		p.until(`['Laptop', 'Phone'].every(name => row(name)?.innerText.includes('Connected'))`)
	}
	if !laptop.is(`row('Laptop').innerText.includes('This device') && !row('Phone').innerText.includes('This device')`) {
		t.Error("the laptop does not know itself")
	}
	laptop.click(`row('Phone').querySelector('button')`)
	phone.until(`seen('over')`)
	if !phone.is(`text('over-why') === 'Another device signed this one out.' && text('over-code').includes('4001') && text('over-code').includes('“revoked”')`) {
		t.Error("the phone does not say why")
	}
	if !phone.is(`document.activeElement.id === 'over-title' && !sessionStorage.getItem('token') && !seen('signed-in')`) {
		t.Error("the phone has not let go")
	}
	eval[bool](phone, `window.dispatchEvent(new Event('online'))`)
	if retries := phone.is(`window.retries > 0`); retries || phone.opened() != 1 {
		t.Errorf("the phone tries again: %v, %d sockets", retries, phone.opened())
	}
	laptop.until(`!row('Phone') && text('ended').includes('signed out') && text('notice') === 'Phone: signed out.'`)
	if !laptop.is(`document.activeElement.tagName === 'H1'`) {
		t.Error("the focus went with the row")
	}
}

func TestSignOutElsewhere(t *testing.T) {
	s, b := newScene(t), browser(t)
	laptop := s.tab(t, b).signIn("ana", "Laptop")
	if !laptop.is(`document.getElementById('end-others').disabled`) {
		t.Error("with nobody else there is nobody to sign out")
	}
	phone := s.tab(t, b).signIn("ana", "Phone")
	stranger := s.tab(t, b).signIn("bob", "Phone")
	laptop.until(`row('Phone')`)
	laptop.click(`document.getElementById('end-others')`)
	phone.until(`seen('over') && text('over-why').includes('everywhere else')`)
	laptop.until(`!row('Phone') && row('Laptop')`)
	if !stranger.is(`seen('signed-in')`) {
		t.Error("bob was signed out")
	}
	laptop.click(`row('Laptop').querySelector('button')`)
	laptop.until(`seen('over') && text('over-why') === 'You signed out on this device.'`)
	laptop.signIn("bob", "Laptop")
	if !laptop.is(`row('Phone') && row('Laptop').matches('.mine') && text('who') === 'Signed in as bob' && text('notice') === '' && !seen('over')`) {
		t.Errorf("who signs in anew sees something of before:\n%s", eval[string](laptop, `document.body.innerText`))
	}
}

// The link to another device opens a tab that knows the person, and has no token.
func TestAnotherDevice(t *testing.T) {
	s, b := newScene(t), browser(t)
	laptop := s.tab(t, b).signIn("Ana & Bob #1", "Laptop")
	other := s.tab(t, b)
	other.do(chromedp.Navigate("about:blank"), chromedp.Navigate(eval[string](laptop, `document.getElementById('another').href`)))
	other.until(`seen('enter') && document.getElementById('person').value === 'Ana & Bob #1'`)
	if !laptop.is(`document.getElementById('another').rel === 'noopener'`) {
		t.Error("the new tab would inherit the token")
	}
}

// A countdown shrinks to zero on the page, and there the server has the last word.
func TestCountdown(t *testing.T) {
	s, b := newScene(t), browser(t)
	phone := s.tab(t, b).signIn("ana", "Phone")
	laptop := s.tab(t, b).signIn("ana", "Laptop")
	s.clock.Add(ttl - 2*time.Second)
	laptop.press()
	laptop.until(`left('Laptop') > 100 && left('Phone') <= 2`)
	if !laptop.is(`row('Phone').matches('.late') && row('Phone').innerText.includes('Expires soon') && !row('Laptop').matches('.late')`) {
		t.Error("the phone is about to expire and does not look it, or the laptop does")
	}
	phone.until(`row('Phone').querySelector('.time').innerText === '0:00' && row('Phone').querySelector('i').style.transform === 'translateX(-100%)'`)
	if !phone.is(`seen('signed-in')`) {
		t.Error("the page signed itself out before the server did")
	}
	s.clock.Add(2 * time.Second)
	phone.until(`seen('over') && text('over-why') === 'It was not used for 2 minutes, and ran out.' && text('over-code').includes('“ran out”')`)
	laptop.until(`!row('Phone') && text('ended').includes('ran out')`)
}

// A click or a key slides the expiry, on every page that shows it; an open page does
// not, and at the cap nothing does.
func TestSliding(t *testing.T) {
	s, b := newScene(t), browser(t)
	laptop := s.tab(t, b).signIn("ana", "Laptop")
	phone := s.tab(t, b).signIn("ana", "Phone")
	begun := s.clock.Now()
	expires := func(p *tab, name string, after time.Duration) {
		t.Helper()
		p.until(fmt.Sprintf("Number(row(%q).dataset.expires) === %d", name, begun.Add(after).UnixMilli()))
	}
	s.clock.Add(90 * time.Second)
	laptop.press()
	expires(laptop, "Laptop", 90*time.Second+ttl)
	expires(phone, "Laptop", 90*time.Second+ttl)
	expires(laptop, "Phone", ttl)
	if !laptop.is(`left('Laptop') > 110 && left('Phone') <= 30`) {
		t.Error("the countdowns show something else")
	}
	s.clock.Add(30 * time.Second)
	phone.until(`seen('over')`) // its page was open all the time
	laptop.do(chromedp.MouseClickXY(5, 5))
	expires(laptop, "Laptop", 2*time.Minute+ttl)
	for at := 2 * time.Minute; at < maxTTL-time.Minute; {
		at += time.Minute
		s.clock.Add(time.Minute)
		laptop.press()
		expires(laptop, "Laptop", min(at+ttl, maxTTL))
	}
	s.clock.Add(time.Minute)
	laptop.until(`seen('over') && text('over-why') === 'It reached the longest time that a device may stay signed in.'`)
}

// A restart on the same file signs nobody out, and nor does a reload; what ran out
// meanwhile is told why.
func TestRestart(t *testing.T) {
	s, b := newScene(t), browser(t)
	laptop := s.tab(t, b).signIn("ana", "Laptop")
	id := `row('Laptop').dataset.id`
	before := eval[string](laptop, id)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	laptop.until(`text('link') === 'Reconnecting…' && text('notice').includes('stays signed in') && window.retries > 2`)
	s.start()
	laptop.until(`text('link') === 'Connected' && text('notice') === ''`)
	laptop.do(chromedp.Reload())
	laptop.until(`text('link') === 'Connected' && row('Laptop')`)
	if after := eval[string](laptop, id); before != after {
		t.Errorf("it was device %s and is %s", before, after)
	}
	if other := s.tab(t, b); !other.is(`seen('enter') && !seen('signed-in')`) {
		t.Error("a new tab has the token of another one")
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s.clock.Add(ttl)
	s.start()
	laptop.until(`seen('over') && text('over-code').includes('401') && text('over-code').includes('“ran out”')`)
}

// A browser that is told 503 keeps its token and comes back.
func TestUnavailable(t *testing.T) {
	s, b := newScene(t), browser(t)
	laptop := s.tab(t, b).signIn("ana", "Laptop")
	s.store.Close() // and the server goes on answering
	laptop.until(`text('link') === 'Reconnecting…' && window.retries > 2`)
	if !laptop.is(`sessionStorage.getItem('token') && seen('signed-in')`) {
		t.Error("a store that is closed signed somebody out")
	}
}
