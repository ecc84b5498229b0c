use crate::{
    AgentStatus, Name, NodeId, NumberPlan, PhoneNumber, Priority, ReasonCode, SkillLevel, SkillName, TenantId,
    TextError,
};

fn check_text<T>(input: &str, accepted: bool)
where
    T: std::str::FromStr,
{
    assert_eq!(input.parse::<T>().is_ok(), accepted, "{input:?} as {}", std::any::type_name::<T>());
}

#[test]
fn texts_are_parsed_at_the_border() {
    check_text::<SkillName>("English", true);
    check_text::<SkillName>("", false);
    check_text::<SkillName>("a b", false);
    check_text::<SkillName>(&"x".repeat(64), true);
    check_text::<SkillName>(&"x".repeat(65), false);
    check_text::<PhoneNumber>("+4930123456", true);
    check_text::<PhoneNumber>("anonymous", true);
    check_text::<PhoneNumber>("12 34", false);
    check_text::<PhoneNumber>("<script>", false);
    check_text::<NodeId>("voice-1.example", true);
    check_text::<NodeId>("a/b", false);
    check_text::<NodeId>("{x}", false);
    check_text::<ReasonCode>("lunch_break", true);
    check_text::<ReasonCode>("Lunch", false);
    check_text::<TenantId>("0190b5a0-0000-7000-8000-000000000001", true);
    check_text::<TenantId>("1", false);
    check_text::<Name>("  Ada  ", true);
    check_text::<Name>("   ", false);
    check_text::<Name>("a\nb", false);
}

#[test]
fn a_wrong_text_inside_json_is_refused_too() {
    assert!(serde_json::from_str::<SkillName>("\"a b\"").is_err());
    assert!(serde_json::from_str::<SkillLevel>("11").is_err());
    assert!(serde_json::from_str::<SkillLevel>("0").is_err());
    assert!(serde_json::from_str::<Priority>("101").is_err());
    assert_eq!("".parse::<SkillName>(), Err(TextError::Empty));
}

#[test]
fn debug_forms_hide_people() {
    let number: PhoneNumber = "+4930123456".parse().unwrap();
    assert_eq!(format!("{number:?}"), "PhoneNumber(..56)");
    let name: Name = "Ada Lovelace".parse().unwrap();
    assert!(!format!("{name:?}").contains("Ada"));
}

#[test]
fn a_status_is_one_tagged_object() {
    let status = AgentStatus::NotReady { reason: ReasonCode::known(ReasonCode::RONA) };
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(json, r#"{"kind":"not_ready","reason":"rona"}"#);
    assert_eq!(serde_json::from_str::<AgentStatus>(&json).unwrap(), status);
}

#[test]
fn ids_sort_by_the_time_they_were_made() {
    let early = TenantId::from_parts(1, &[0xff; 10]);
    let late = TenantId::from_parts(2, &[0; 10]);
    assert!(early < late);
    assert_eq!(late.to_string().parse::<TenantId>().unwrap(), late);
}

#[test]
fn a_number_is_one_number_however_a_carrier_writes_it() {
    let german = NumberPlan { country_code: Some("49".to_owned()), ..NumberPlan::default() };
    let american = NumberPlan {
        country_code: Some("1".to_owned()),
        international_prefix: "011".to_owned(),
        national_prefix: "1".to_owned(),
    };
    let italian =
        NumberPlan { country_code: Some("39".to_owned()), national_prefix: String::new(), ..NumberPlan::default() };
    let check = |plan: &NumberPlan, text: &str, expected: Option<&str>| {
        assert_eq!(plan.e164(text).as_deref(), expected, "{text} by {plan:?}");
    };
    for text in [
        "+4930123456",
        "+49-30-123456",
        "+49 (30) 123.456",
        "004930123456",
        "030123456",
        "030 12-34-56",
        "4930123456",
        "+4930123456;npdi",
        "+4930123456;npdi=yes;rn=+4930999",
        "030123456;phone-context=+49",
    ] {
        check(&german, text, Some("+4930123456"));
    }
    check(&german, "100", None);
    check(&german, "anonymous", None);
    check(&german, "+", None);
    check(&german, "+12345678901234567", None);
    check(&american, "14155550100", Some("+14155550100"));
    check(&american, "011493012345", Some("+493012345"));
    check(&italian, "0612345678", Some("+390612345678"));
    let unset = NumberPlan::default();
    check(&unset, "004930123456", Some("+4930123456"));
    check(&unset, "030123456", None);
    assert_eq!(unset.readings("4930123456"), ["4930123456", "+4930123456"]);
    assert_eq!(unset.readings("100"), ["100"]);
    assert_eq!(unset.readings("alice-smith;x=y"), ["alice-smith"]);
    assert_eq!(german.readings("030123456"), ["030123456", "+4930123456"]);
    assert_eq!(german.caller("01701234567").unwrap().as_str(), "+491701234567");
    assert_eq!(unset.caller("+49 170 123").unwrap().as_str(), "+49170123");
    assert_eq!(unset.caller("anonymous").unwrap().as_str(), "anonymous");
    assert_eq!(unset.caller(""), None);
    assert_eq!(serde_json::from_str::<NumberPlan>("{}").unwrap(), unset, "trunks of before");
}
