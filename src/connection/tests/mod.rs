mod output;
mod scanner;
mod scanner_oracle;
mod scanner_reports;
mod scanner_streams;
