//! The messages of [`super::torture`]: each has the feature that RFC 4475 describes under its name, in our words.

/// What must become of a message.
pub(super) enum Expect {
    /// It is valid, and answered with this by us (none: nothing to say).
    Sound(Option<u16>),
    /// It is refused with this.
    Answer(u16),
    /// It is dropped.
    Drop,
}

pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) expect: Expect,
}

/// Lines become CRLF lines; `{L}` becomes the length of what follows the empty line.
fn wire(text: &str) -> Vec<u8> {
    let text = text.replace('\n', "\r\n");
    let length = text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
    text.replace("{L}", &length.to_string()).into_bytes()
}

fn case(name: &'static str, expect: Expect, text: &str) -> Case {
    Case { name, bytes: wire(text), expect }
}

/// A request with the fields every one needs, and these more.
fn plain(method: &str, uri: &str, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP host.example.com;branch=z9hG4bKtorture\nMax-Forwards: 70\n\
         From: <sip:caller@example.com>;tag=3\nTo: <sip:user@example.com>\nCall-ID: torture@example.com\n\
         CSeq: 8 {method}\n{more}Content-Length: 0\n\n"
    )
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = valid();
    all.extend(invalid());
    all.extend(application());
    all
}

/// Section 3.1.1: valid, however unusual.
fn valid() -> Vec<Case> {
    // A stranger is asked for credentials, also of a realm that is not ours: which ones are is not told.
    let stranger = || Expect::Sound(Some(407));
    let nowhere = || Expect::Sound(Some(401));
    vec![
        case(
            "wsinv",
            stranger(),
            "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\nTO :\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\n\
             from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\n  ;\n  tag = 98asjd8\nMaX-fOrWaRdS: 0068\n\
             Call-ID: wsinv.ndaksdj@192.0.2.1\nContent-Length   : {L}\ncseq: 0009\n  INVITE\n\
             Via  : SIP  /   2.0\n /UDP\n    192.0.2.2;branch=390skdjuw\ns :\nNewFangledHeader:   newfangled value\n continued newfangled value\n\
             UnknownHeaderWithUnusualValue: ;;,,;;,;\nContent-Type: application/sdp\n\
             Route:\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\n\
             v:  SIP  / 2.0  / TCP     spindle.example.com   ;\n  branch  =   z9hG4bK9ikj8  ,\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\n z9hG4bK30239\n\
             m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\n      newvalue ;\n  secondparam ; q = 0.33\n\nv=0\n",
        )
        .with_status(Some(481)),
        case(
            "intmeth",
            stranger(),
            "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\n\
             Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~\n\
             To: \"BEL:\\\u{7} NUL:\\\u{0} DEL:\\\u{7f}\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\n\
             From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\u{440}\u{430}\";tag=_token~1'+`*%!-.\n\
             Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\nCSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\n\
             Max-Forwards: 255\nextensionHeader-!.%*+_`'~:\u{ef}\u{bb}\u{bf}\u{e5}\nContent-Length: 0\n\n",
        ),
        case("esc01", stranger(), &plain("INVITE", "sip:sips%3Auser%40example.com@example.net", "Contact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>\n")),
        case("escnull", nowhere(), &plain("REGISTER", "sip:example.com", "Contact: <sip:%00@host5.example.com>, <sip:%00%00@host5.example.com>\n")),
        case("esc02", Expect::Sound(Some(501)), &plain("RE%47IST%45R", "sip:registrar.example.com", "Contact: <sip:alias1@host1.example.com>, <sip:%6Cocal@host1>\n")),
        case("lwsdisp", stranger(), &plain("OPTIONS", "sip:user@example.com", "").replace("From: <", "From: caller<")),
        case("longreq", stranger(), &long_request()),
        case("dblreq", nowhere(), &format!("{}{}", plain("REGISTER", "sip:example.com", ""), plain("INVITE", "sip:joe@example.com", "").replace("torture", "second"))),
        case("semiuri", stranger(), &plain("OPTIONS", "sip:user;par=u%40example.net@example.com", "")),
        case("transports", stranger(), &plain("OPTIONS", "sip:user@example.com", "Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKa\nVia: SIP/2.0/TLS t3.example.com;branch=z9hG4bKb\nVia: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKc\nVia: SIP/2.0/TCP t5.example.com;branch=z9hG4bKd\n")),
        case("mpart01", stranger(), &plain("MESSAGE", "sip:kumiko@example.org", "Content-Type: multipart/mixed;boundary=7a9cbec02ceef655\n").replace("Content-Length: 0\n\n", "Content-Length: {L}\n\n--7a9cbec02ceef655\nContent-Type: text/plain\n\nHello\n--7a9cbec02ceef655\nContent-Transfer-Encoding: binary\n\n\u{1}\u{0}\u{7f}\u{2}\n--7a9cbec02ceef655--\n")),
        case("unreason", Expect::Sound(None), &response("200 = 2**3 * 5**2 \u{43d}\u{43e} \u{441}\u{442}\u{43e}")),
        case("noreason", Expect::Sound(None), &response("100 ")),
    ]
}

/// Section 3.1.2: invalid.
fn invalid() -> Vec<Case> {
    let nowhere = || Expect::Sound(Some(401));
    let bad = || Expect::Answer(400);
    let invite = |more: &str| plain("INVITE", "sip:user@example.com", more);
    vec![
        case("badinv01", bad(), &invite("").replace("branch=z9hG4bKtorture", "branch=z9hG4bKtorture;;,;,,")),
        case("clerr", bad(), &invite("").replace("Content-Length: 0\n\n", "Content-Length: 9999\n\nv=0\n")),
        case("ncl", bad(), &invite("").replace("Content-Length: 0", "Content-Length: -999")),
        case("scalar02", bad(), &plain("REGISTER", "sip:example.com", "Expires: 10000000000000000000000000\nContact: <sip:user@host129.example.com>;expires=280297596632815\n").replace("CSeq: 8", "CSeq: 36893488147419103232")),
        case("scalarlg", Expect::Drop, &response("503 Service Unavailable").replace("CSeq: 8", "CSeq: 9292394834772304023312")),
        case("quotbal", bad(), &invite("").replace("To: <", "To: \"Mr. J. User <")),
        case("ltgtruri", bad(), &plain("INVITE", "<sip:user@example.com>", "")),
        case("lwsruri", bad(), &plain("INVITE", "sip:user@example.com; lr", "")),
        case("lwsstart", bad(), &invite("").replace("INVITE sip:user@example.com SIP", "INVITE  sip:user@example.com  SIP")),
        case("trws", bad(), &plain("OPTIONS", "sip:remote-target@example.com", "").replacen("SIP/2.0\n", "SIP/2.0  \n", 1)),
        case("escruri", bad(), &plain("INVITE", "sip:user@example.com?Route=%3Csip:example.com%3E", "")),
        case("baddate", bad(), &invite("Date: Fri, 01 Jan 2010 16:00:00 EST\n")),
        // Of our own realm, so that it gets as far as the Contact; see the registering tests for the authorized one.
        case("regbadct", nowhere(), &plain("REGISTER", "sip:example.com", "Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E\n")),
        case("badaspec", bad(), &plain("OPTIONS", "sip:user@example.org", "").replace("To: <sip:user@example.com>", "To: \"Watson, Thomas\" < sip:t.watson@example.org >")),
        // The RFC lets a liberal element take it: phones do write names so.
        case("baddn", Expect::Sound(Some(407)), &plain("OPTIONS", "sip:t.watson@example.org", "").replace("From: <", "From: Bell, Alexander <")),
        case("badvers", Expect::Answer(505), &plain("OPTIONS", "sip:t.watson@example.org", "").replacen(" SIP/2.0\n", " SIP/7.0\n", 1)),
        case("mismatch01", bad(), &plain("OPTIONS", "sip:user@example.com", "").replace("8 OPTIONS", "8 INVITE")),
        case("mismatch02", bad(), &plain("NEWMETHOD", "sip:user@example.com", "").replace("8 NEWMETHOD", "8 INVITE")),
        case("bigcode", Expect::Drop, &response("4294967301 better not break the receiver")),
    ]
}

/// Sections 3.2 to 3.4: for transactions, applications, and old elements.
fn application() -> Vec<Case> {
    let stranger = || Expect::Sound(Some(407));
    let nowhere = || Expect::Sound(Some(401));
    let invite = |more: &str| plain("INVITE", "sip:user@example.com", more);
    let register = |more: &str| plain("REGISTER", "sip:example.com", more);
    vec![
        case(
            "badbranch",
            stranger(),
            &plain("OPTIONS", "sip:user@example.com", "").replace("z9hG4bKtorture", "z9hG4bK"),
        ),
        case(
            "insuf",
            Expect::Answer(400),
            "INVITE sip:user@example.com SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj\nContent-Type: application/sdp\nl: 0\n\n",
        ),
        case("unkscm", Expect::Sound(Some(416)), &plain("OPTIONS", "nobodyKnowsThisScheme:totallyopaquecontent", "")),
        case("novelsc", Expect::Sound(Some(416)), &plain("OPTIONS", "soap.beep://192.0.2.103:3002", "")),
        case(
            "unksm2",
            Expect::Sound(Some(404)),
            &register("Contact: <name:John_Smith>\n")
                .replace("To: <sip:user@example.com>", "To: isbn:2983792873")
                .replace("<sip:caller@example.com>", "<http://www.example.com>"),
        ),
        case(
            "bext01",
            Expect::Sound(Some(420)),
            &plain(
                "OPTIONS",
                "sip:user@example.com",
                "Require: nothingSupportsThis, nothingSupportsThisEither\nProxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis\n",
            ),
        ),
        case(
            "invut",
            stranger(),
            &invite("Content-Type: application/unknownformat\n")
                .replace("Content-Length: 0\n\n", "Content-Length: {L}\n\n<audio>\n<pcmu port=\"443\"/>\n</audio>\n"),
        ),
        // In our realm: an unknown scheme of credentials counts as none.
        case(
            "regaut01",
            Expect::Sound(Some(401)),
            &register("Authorization: NoOneKnowsThisScheme opaque-data=here\n").replace("example.com", "rd.test"),
        ),
        case(
            "multi01",
            Expect::Answer(400),
            &invite(
                "CSeq: 59 INVITE\nCall-ID: other@192.0.2.25\nTo: <sip:user@example.com>\nFrom: <sip:other@example.net>;tag=2\n",
            ),
        ),
        case(
            "mcl01",
            Expect::Answer(400),
            &plain("OPTIONS", "sip:user@example.com", "Content-Length: 13\n")
                .replace("Content-Length: 0\n\n", "Content-Length: 5\n\nThere's no way"),
        ),
        case(
            "bcast",
            Expect::Sound(None),
            &response("200 OK")
                .replace("Via: ", "Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\nVia: ")
                .replace("host.example.com", "255.255.255.255"),
        ),
        case(
            "zeromf",
            Expect::Sound(Some(483)),
            &plain("OPTIONS", "sip:user@example.com", "").replace("Max-Forwards: 70", "Max-Forwards: 0"),
        ),
        case("cparam01", nowhere(), &register("Contact: sip:+19725552222@gw1.example.net;unknownparam\n")),
        case("cparam02", nowhere(), &register("Contact: <sip:+19725552222@gw1.example.net;unknownparam>\n")),
        case("regescrt", nowhere(), &register("Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>\n")),
        case(
            "sdp01",
            stranger(),
            &invite("Accept: text/nobodyKnowsThis\nContent-Type: application/sdp\n")
                .replace("Content-Length: 0\n\n", "Content-Length: {L}\n\nv=0\nm=video 3227 RTP/AVP 31\n"),
        ),
        case(
            "inv2543",
            stranger(),
            "INVITE sip:UserB@example.com SIP/2.0\nVia: SIP/2.0/UDP iftgw.example.com\nFrom: <sip:+13035551111@ift.client.example.net;user=phone>\nRecord-Route: <sip:UserB@example.com;maddr=ss1.example.com>\nTo: sip:+16505552222@ss1.example.net;user=phone\nCall-ID: inv2543.1717@ift.client.example.com\nCSeq: 56 INVITE\nContent-Type: application/sdp\n\nv=0\n",
        ),
    ]
}

impl Case {
    /// A case whose dialog is not ours.
    fn with_status(mut self, status: Option<u16>) -> Self {
        self.expect = Expect::Sound(status);
        self
    }
}

fn response(status: &str) -> String {
    plain("INVITE", "sip:user@example.com", "").replacen(
        "INVITE sip:user@example.com SIP/2.0",
        &format!("SIP/2.0 {status}"),
        1,
    )
}

/// Values as long as they get: display names, parameters, unknown fields, many Via.
fn long_request() -> String {
    let long = |text: &str, times: usize| text.repeat(times);
    let vias: String = (0..33)
        .map(|at| format!("Via: SIP/2.0/TCP sip{at}.example.com;branch=z9hG4bK{}{at}\n", long("really", 10)))
        .collect();
    let more = format!(
        "{vias}Unknown-{0}: unknown-{0}-value\nContact: <sip:amazinglylongcallername{0}@host5.example.net>\n",
        long("Long", 20)
    );
    plain("INVITE", "sip:user@example.com", &more)
        .replace(
            "From: <sip:caller",
            &format!("From: \"{}\" <sip:{}", long("I have a user name of extreme ", 20), long("caller", 20)),
        )
        .replace("torture@example.com", &format!("{}@example.com", long("longreq.one", 20)))
}
