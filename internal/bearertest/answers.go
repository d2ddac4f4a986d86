package bearertest

import "github.com/seed-55daa01a/lapse/internal/bearer"

// Answer is a credential with the text, the ID and the digest that belong to it.
type Answer struct {
	Name, Prefix     string
	Credential       bearer.Credential
	Text, ID, Digest string
}

// KnownAnswers returns answers that were computed outside this repository. Tokens that have been
// handed out look like them, and so do digests that have been stored: none of these literals may
// ever change.
func KnownAnswers() []Answer {
	return []Answer{
		{
			Name: "counting up", Prefix: "lapse", Credential: Filled(func(i int) byte { return byte(i) }),
			Text:   "lapse_001IYT0XLWR0glqewhlWlr1NWOlQOzi1H24Gwru6DtGh2l1UyNnS4W73Rm34rUgFlX2QwXdy",
			ID:     "001IYT0XLWR0glqewhlWlr",
			Digest: "1759f4bac2f334110fec9868c29e87abefcbf21ade2e9ad5bd4c5370a0f30b92",
		},
		{
			Name: "all zero", Prefix: "lapse", Credential: bearer.Credential{},
			Text:   "lapse_00000000000000000000000000000000000000000000000000000000000000000027HfOM",
			ID:     "0000000000000000000000",
			Digest: "8061da1654973e37b868b38b8e491c22478e22e7b639430ffca55b4a2c2d7311",
		},
		{
			Name: "all one", Prefix: "lapse", Credential: Filled(func(int) byte { return 0xff }),
			Text:   "lapse_LygHa16AHYFLygHa16AHYFLygHa16AHYFLygHa16AHYFLygHa16AHYFLygHa16AHYF42UpQY",
			ID:     "LygHa16AHYFLygHa16AHYF",
			Digest: "1a1c2c396403b6817b85fd56e6f0c182263a89d721344762d1116a31a8fc010e",
		},
		{
			Name: "shortest prefix", Prefix: "a", Credential: Filled(func(i int) byte { return byte(255 - i) }),
			Text:   "a_Lyez1Y5cw1oLHuQv4OOkmOKb9soahAZWyJuPKi6zwOHYJDembdIiD28IWuEV9bU1mi28PfFJ",
			ID:     "Lyez1Y5cw1oLHuQv4OOkmO",
			Digest: "eaf0f6d97e999fd8afde29fb7c4aecdb93a010c0c2b0b2b0c25e3b53d0c5b45e",
		},
		{
			Name: "longest prefix", Prefix: "acme_live_v2abcd", Credential: FromHex("0195486f5c007abc8def0123456789ab" +
				"030a11181f262d343b424950575e656c737a81888f969da4abb2b9c0c7ced5dc"),
			Text:   "acme_live_v2abcd_08QTNi2Q3J6CBVZg28X45j0GB3BChDzsa55QtuYZpGcW9ugkduSQXMSEjwbNGL1o6O4ehkah",
			ID:     "08QTNi2Q3J6CBVZg28X45j",
			Digest: "bba75be8f072358f45f426e393ad88ac9dcd5fc68538dd4db774e50090ee4786",
		},
	}
}
