use crate::{AgentStatus, Name, NodeId, PhoneNumber, Priority, ReasonCode, SkillLevel, SkillName, TenantId, TextError};

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
