mod order;
mod prepared;
mod published;
mod reading;
mod tokenizer;
