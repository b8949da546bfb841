//! The generator as a plugin of buf and protoc: a CodeGeneratorRequest comes in, a CodeGeneratorResponse goes out.

use std::io::{self, Read, Write};

use prost::Message;
use prost_types::FileDescriptorSet;
use prost_types::compiler::code_generator_response::{Feature, File};
use prost_types::compiler::{CodeGeneratorRequest, CodeGeneratorResponse};

fn main() -> io::Result<()> {
    let mut asked = Vec::new();
    io::stdin().read_to_end(&mut asked)?;
    let asked = CodeGeneratorRequest::decode(asked.as_slice()).map_err(io::Error::other)?;
    let code = turnout_stubs::generate(FileDescriptorSet { file: asked.proto_file })?;
    let answer = CodeGeneratorResponse {
        supported_features: Some(Feature::Proto3Optional as u64),
        file: vec![File { name: Some(turnout_stubs::FILE_NAME.to_owned()), content: Some(code), ..File::default() }],
        ..CodeGeneratorResponse::default()
    };
    io::stdout().write_all(&answer.encode_to_vec())
}
